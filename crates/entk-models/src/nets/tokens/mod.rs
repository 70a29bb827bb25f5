//! Networks of tokens and of other sequences.

mod attention;
mod bert;
mod gpt2;
mod head;
mod llama;
mod lstm;

pub use bert::BertConfig;
pub use gpt2::Gpt2Config;
pub use head::LanguageHead;
pub use llama::LlamaConfig;
pub use lstm::LstmConfig;
