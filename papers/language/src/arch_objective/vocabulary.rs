//! Tokens: those of a text tokenizer, and the special ones that objectives need.

/// A tokenizer of text that loses nothing.
pub trait Codec: Send + Sync {
    /// Number of its tokens, which are `0..size`.
    fn size(&self) -> usize;
    /// Tokens of a text.
    fn encode(&self, text: &str) -> Vec<u32>;
    /// Bytes of a token.
    fn bytes(&self, token: u32) -> &[u8];
}

/// Tokens of text, `end`, `start`, and the sentinels of span corruption, in this order.
pub struct Vocabulary {
    codec: Box<dyn Codec>,
    sentinels: usize,
}

impl Vocabulary {
    /// With so many sentinels.
    pub fn new(codec: Box<dyn Codec>, sentinels: usize) -> Self {
        Self { codec, sentinels }
    }

    /// Number of tokens of all kinds.
    pub fn size(&self) -> usize {
        self.codec.size() + 2 + self.sentinels
    }

    /// Tokens of a text.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.codec.encode(text)
    }

    /// Ends a document, a target, and stands before a prompt as the end of what came before.
    pub fn end(&self) -> u32 {
        self.codec.size() as u32
    }

    /// First token of a decoder that sees nothing else yet.
    pub fn start(&self) -> u32 {
        self.end() + 1
    }

    /// The sentinel that takes the place of span `index`.
    pub fn sentinel(&self, index: usize) -> u32 {
        self.start() + 1 + index as u32
    }

    /// Which span a sentinel stands for.
    pub fn sentinel_index(&self, token: u32) -> Option<usize> {
        token.checked_sub(self.sentinel(0)).map(|index| index as usize)
    }

    /// Characters that begin in a token; special tokens have none.
    pub fn characters(&self, token: u32) -> usize {
        if token >= self.end() {
            return 0;
        }
        self.codec.bytes(token).iter().filter(|byte| **byte & 0xC0 != 0x80).count()
    }

    /// Text of tokens; special ones are left out, bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens
            .iter()
            .filter(|token| **token < self.end())
            .flat_map(|token| self.codec.bytes(*token).iter().copied())
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Every byte is a token: the tokenizer of zero merges, for tests and examples.
pub struct Bytes(Vec<u8>);

impl Default for Bytes {
    fn default() -> Self {
        Self((0..=255).collect())
    }
}

impl Codec for Bytes {
    fn size(&self) -> usize {
        self.0.len()
    }
    fn encode(&self, text: &str) -> Vec<u32> {
        text.bytes().map(u32::from).collect()
    }
    fn bytes(&self, token: u32) -> &[u8] {
        let at = token as usize;
        self.0.get(at..=at).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_tokens_follow_those_of_text() {
        let vocabulary = Vocabulary::new(Box::new(Bytes::default()), 4);
        assert_eq!((vocabulary.end(), vocabulary.start(), vocabulary.sentinel(0)), (256, 257, 258));
        assert_eq!(vocabulary.size(), 262);
        assert_eq!(vocabulary.sentinel_index(261), Some(3));
        assert_eq!(vocabulary.sentinel_index(257), None);
        let text = "Sélah";
        let mut tokens = vocabulary.encode(text);
        assert_eq!(tokens.iter().map(|t| vocabulary.characters(*t)).sum::<usize>(), 5);
        tokens.insert(2, vocabulary.sentinel(1));
        tokens.push(vocabulary.end());
        assert_eq!(tokens.iter().map(|t| vocabulary.characters(*t)).sum::<usize>(), 5);
        assert_eq!(vocabulary.decode(&[83, 256, 104]), "Sh");
    }
}
