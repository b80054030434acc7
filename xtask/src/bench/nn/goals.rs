//! What is compared, and what each comparison should reach.

/// One workload on our side against one on the rival's.
pub(super) struct Comparison {
    pub(super) name: &'static str,
    pub(super) ours: &'static str,
    pub(super) theirs: &'static str,
    pub(super) goal: Goal,
}

/// Ratios of the rival's time to ours that were set before the first measurement, for PyTorch on two threads.
#[derive(Clone, Copy, serde::Serialize)]
pub(super) struct Goal {
    /// Below this the work is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) floor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aim: Option<f64>,
}

const fn same(name: &'static str, floor: Option<f64>, aim: Option<f64>) -> Comparison {
    Comparison { name, ours: name, theirs: name, goal: Goal { floor, aim } }
}

pub(super) const COMPARISONS: [Comparison; 11] = [
    same("sgemm", None, None),
    same("gpt", Some(1.0), Some(1.3)),
    // The reader who accepts bf16 matrix products leaves f32, whatever the rival offers ...
    Comparison {
        name: "gpt-bf16",
        ours: "gpt-bf16",
        theirs: "gpt",
        goal: Goal { floor: None, aim: Some(1.5) },
    },
    // ... and the like-for-like row beside it.
    Comparison {
        name: "gpt-bf16-both",
        ours: "gpt-bf16",
        theirs: "gpt-bf16",
        goal: Goal { floor: None, aim: None },
    },
    same("decode", Some(2.0), None),
    same("raster", Some(1.0), Some(1.3)),
    same("next-scale", Some(1.0), Some(1.3)),
    same("vqae", Some(1.0), Some(1.2)),
    same("vq-tokenizer", Some(1.0), Some(1.3)),
    same("msvq-tokenizer", Some(1.0), Some(1.3)),
    same("td3", Some(1.5), None),
];

/// Our peak memory over the rival's.
pub(super) const MEMORY_GOAL: f64 = 0.5;
