//! Text from one token after the other.

use super::Tokenizer;

/// Turns tokens into text as they come. The bytes of a character that is not complete yet are held back; bytes that can no longer become a
/// character are U+FFFD, so that all pieces together are [`Tokenizer::decode_text`] of all tokens.
#[derive(Clone, Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    held: Vec<u8>,
}

impl<'a> TextStream<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, held: Vec::new() }
    }

    /// The text that is complete with one more token; often all of it, sometimes nothing.
    pub fn push(&mut self, token: u32) -> String {
        let unknown = "\u{fffd}".as_bytes();
        self.held.extend_from_slice(self.tokenizer.bytes_of(token).unwrap_or(unknown));
        let ready = complete(&self.held);
        let text = String::from_utf8_lossy(&self.held[..ready]).into_owned();
        self.held.drain(..ready);
        text
    }

    /// What was held back to the end: nothing, or U+FFFD for a character that was cut off.
    #[must_use]
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.held).into_owned()
    }
}

/// Bytes up to a character at the end that may still become complete.
fn complete(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        match str::from_utf8(&bytes[at..]) {
            Ok(_) => return bytes.len(),
            Err(problem) => match problem.error_len() {
                None => return at + problem.valid_up_to(),
                Some(wrong) => at += problem.valid_up_to() + wrong,
            },
        }
    }
}
