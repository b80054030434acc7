//! How vocabularies write bytes.

/// GPT-2's letters for bytes: printable characters of Latin-1 stand for themselves, the others are counted up from U+0100.
pub(super) struct Alphabet {
    letters: [char; 256],
    /// By letter; all of them are below U+0144.
    bytes: [Option<u8>; 0x144],
}

impl Alphabet {
    pub(super) fn new() -> Self {
        let (mut letters, mut bytes) = (['\0'; 256], [None; 0x144]);
        let mut shifted = '\u{100}'..;
        for byte in 0..=u8::MAX {
            let printable = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
            let letter = if printable { Some(char::from(byte)) } else { shifted.next() };
            if let Some(letter) = letter {
                letters[usize::from(byte)] = letter;
                bytes[letter as usize] = Some(byte);
            }
        }
        Self { letters, bytes }
    }

    /// How a token of these bytes is written.
    pub(super) fn written(&self, bytes: &[u8]) -> String {
        bytes.iter().map(|&byte| self.letters[usize::from(byte)]).collect()
    }

    /// The bytes that a token is written for; `None` when it has another letter.
    pub(super) fn bytes(&self, token: &str) -> Option<Box<[u8]>> {
        token.chars().map(|c| self.bytes.get(c as usize).copied().flatten()).collect()
    }
}
