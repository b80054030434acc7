//! What several tests share.

use std::ops::ControlFlow;
use std::sync::OnceLock;

use super::Config;
use ream_lab::Preset;
use ream_lm::{LanguageModel, SmallConfig, SmallLm};

/// A tiny model of sentences about the sea.
pub(super) fn tiny_small() -> &'static SmallLm {
    static SMALL: OnceLock<SmallLm> = OnceLock::new();
    SMALL.get_or_init(|| {
        let text = "the sea is blue. is the sea so blue, so wide? the sky is blue and the sea is wide; he slew the sky.\n".repeat(40);
        let config = SmallConfig {
            merges: 26,
            d: 32,
            layers: 1,
            heads: 2,
            context: 128,
            tokens: 60_000,
            batch: 8,
            learning_rate: 3e-3,
            ..SmallConfig::default()
        };
        SmallLm::train(&[text], &config, |_| ControlFlow::Continue(())).unwrap()
    })
}

/// The same for the engine.
pub(super) fn tiny() -> &'static LanguageModel {
    static TINY: OnceLock<LanguageModel> = OnceLock::new();
    TINY.get_or_init(|| LanguageModel::from_small(tiny_small()).unwrap())
}

/// A configuration of a second that goes through all of part A.
pub(super) fn tiny_config() -> Config {
    let mut config = Config::preset(Preset::Smoke);
    let a = &mut config.controlled;
    (a.merges, a.d, a.layers, a.tokens, a.judged) = (200, 16, 1, 40_000, 20);
    (a.violent, a.neutral, a.length, a.prompt_tokens) = (2, 3, 10, 40);
    a.search.iterations = 5;
    config
}
