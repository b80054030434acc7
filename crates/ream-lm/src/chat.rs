//! Conversations as the text that a chat model was trained on.
//!
//! Models say in their file, in a template language, how messages become a prompt. That language is not interpreted here; what is built is
//! *ChatML*, which SmolLM2 uses, and a file with another format is refused.
//!
//! ```
//! use ream_lm::chat::{Chat, Message};
//!
//! let chat = Chat::chatml("You are terse.");
//! let prompt = "<|im_start|>system\nYou are terse.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
//! assert_eq!(chat.prompt(&[Message::user("Hi")]), prompt);
//! ```

use crate::Tokenizer;
use crate::gguf::{self, File};

const START: &str = "<|im_start|>";
const END: &str = "<|im_end|>";

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// What the model is told about its part.
    System,
    /// Whoever asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name in a prompt.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// What somebody says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message of the system.
    #[must_use]
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    /// A message of the user.
    #[must_use]
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// A message of the model.
    #[must_use]
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

/// How a model wants conversations written: for each message `<|im_start|>`, its role, a line end, its content, `<|im_end|>`, a line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chat {
    /// What the system says where a conversation does not begin with a message of the system.
    default_system: Option<String>,
}

impl Chat {
    /// ChatML with this first message of the system where a conversation has none; an empty one is left out.
    #[must_use]
    pub fn chatml(default_system: &str) -> Self {
        Self { default_system: Some(default_system.to_owned()).filter(|text| !text.is_empty()) }
    }

    /// The format that a model's file asks for (key `tokenizer.chat_template`).
    ///
    /// # Errors
    /// There is no such key, or it asks for another format.
    pub fn from_gguf(file: &File) -> Result<Self, gguf::Error> {
        let key = "tokenizer.chat_template";
        Self::from_template(file.str(key)?).map_err(|problem| file.wrong_key(key, problem))
    }

    /// The format of a template: ChatML, with the default message of the system that is written in it.
    ///
    /// # Errors
    /// It is none of ChatML, or changes the content of messages; an error says what was found.
    pub fn from_template(template: &str) -> Result<Self, String> {
        if !template.contains(START) || !template.contains(END) {
            return Err(format!("is not ChatML: wanted `{START}` and `{END}` in it"));
        }
        if let Some(filter) = ["trim", "strip(", "replace("].into_iter().find(|word| template.contains(word))
        {
            return Err(format!("changes messages with `{filter}`, which is not built here"));
        }
        let opening = format!("{START}{}", Role::System.name());
        let default = template.split_once(&opening).and_then(|(_, rest)| {
            // The line end is written as itself or as an escape.
            let rest = rest.strip_prefix('\n').or_else(|| rest.strip_prefix("\\n"))?;
            rest.split_once(END).map(|(text, _)| text)
        });
        match default {
            // A quotation mark: the message is put together from parts.
            Some(text) if text.contains(['\'', '"', '{', '}', '\\']) => {
                Err("computes the default message of the system, which is not built here".to_owned())
            }
            default => Ok(Self::chatml(default.unwrap_or_default())),
        }
    }

    /// A conversation as text, up to where the model's answer begins.
    #[must_use]
    pub fn prompt(&self, messages: &[Message]) -> String {
        format!("{}{START}{}\n", self.transcript(messages), Role::Assistant.name())
    }

    /// A conversation as text.
    #[must_use]
    pub fn transcript(&self, messages: &[Message]) -> String {
        self.parts(messages)
            .map(|(role, content)| format!("{START}{}\n{content}{END}\n", role.name()))
            .collect()
    }

    /// The tokens of [`prompt`](Self::prompt). Names of special tokens that are spelled inside a message stay text: nobody can end a message
    /// by what it says.
    ///
    /// # Errors
    /// The tokenizer has no `<|im_start|>` or `<|im_end|>`: it belongs to another kind of model; the missing name.
    pub fn encode_prompt(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
    ) -> Result<Vec<u32>, MissingToken> {
        let special = |name: &'static str| tokenizer.special(name).ok_or(MissingToken { name });
        let (start, end) = (special(START)?, special(END)?);
        let mut tokens: Vec<u32> = tokenizer.begin().into_iter().collect();
        let mut encoder = tokenizer.encoder();
        for (role, content) in self.parts(messages) {
            tokens.push(start);
            encoder.encode_into(format!("{}\n{content}", role.name()), false, &mut tokens);
            tokens.push(end);
            encoder.encode_into("\n", false, &mut tokens);
        }
        tokens.push(start);
        encoder.encode_into(format!("{}\n", Role::Assistant.name()), false, &mut tokens);
        Ok(tokens)
    }

    /// Roles and contents, with the default message of the system where it belongs.
    fn parts<'a>(&'a self, messages: &'a [Message]) -> impl Iterator<Item = (Role, &'a str)> {
        let without = messages.first().is_some_and(|message| message.role != Role::System);
        let default = self.default_system.as_deref().filter(|_| without).map(|text| (Role::System, text));
        default.into_iter().chain(messages.iter().map(|message| (message.role, message.content.as_str())))
    }
}

/// A tokenizer without a token that the format needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tokenizer has no special token `{name}`: is the model made for chat?")]
pub struct MissingToken {
    /// Its name.
    pub name: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_refused() {
        let wrong = |template: &str| Chat::from_template(template).unwrap_err();
        assert!(wrong("[INST] {{ message }} [/INST]").contains("not ChatML"));
        assert!(wrong("<|im_start|>{{ content | trim }}<|im_end|>").contains("`trim`"));
        assert!(wrong("'<|im_start|>system\n' + system + '<|im_end|>'").contains("computes"));
        let plain = Chat::from_template("'<|im_start|>' + role + content + '<|im_end|>'").unwrap();
        assert_eq!(plain, Chat::chatml(""));
        assert_eq!(plain.prompt(&[]), "<|im_start|>assistant\n");
        let escaped = Chat::from_template("'<|im_start|>system\\nBe kind.<|im_end|>\\n'").unwrap();
        assert_eq!(escaped, Chat::chatml("Be kind."));
    }
}
