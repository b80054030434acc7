//! What language model architecture and pretraining objective work best for zero-shot generalization?
#![allow(dead_code, missing_docs, reason = "under construction")]

pub mod adaptation;
mod attention;
pub mod cells;
mod config;
pub mod corpus;
pub mod items;
pub mod masks;
pub mod model;
pub mod multitask;
pub mod objectives;
pub mod own_data;
pub mod scoring;
pub mod texts;
pub mod training;
pub mod vocabulary;
pub mod zero_shot;
