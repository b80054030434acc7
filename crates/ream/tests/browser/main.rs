//! The site in a real browser: reading, searching, running a paper to its verdict, keyboard, accessibility, both themes,
//! narrow screens, no scripts, hostile texts.
//!
//! `REAM_AXE` names axe-core's script (`cargo xtask ci packages` fetches it and the browser); `REAM_SCREENSHOTS` a folder
//! for pictures.

mod access;
mod browser;
mod hostile;
mod print;
mod reading;
mod running;
mod site;
