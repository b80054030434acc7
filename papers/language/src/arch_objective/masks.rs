//! Who sees whom: the one difference between a causal and a non-causal decoder.

use super::cells::Architecture;

/// Whether the token at `query` sees the one at `key` within one stack that holds input and target. `n_in` tokens of input
/// come first.
///
/// A causal decoder: `key <= query`. A non-causal decoder also within the input, in both directions; a token of the target
/// is seen by no token before it.
pub fn sees(architecture: Architecture, n_in: usize, query: usize, key: usize) -> bool {
    key <= query || (architecture != Architecture::CausalDecoder && query < n_in && key < n_in)
}

/// How a token of input and target comes to see another: 1 by attention within its stack, 0.5 by attention of the decoder to
/// the encoder, 0 not at all. Rows are the tokens that look.
pub fn picture(architecture: Architecture, n_in: usize, n: usize) -> Vec<Vec<f64>> {
    let value = |query: usize, key: usize| {
        let across = architecture == Architecture::EncoderDecoder && query >= n_in && key < n_in;
        if !sees(architecture, n_in, query, key) {
            0.0
        } else if across {
            0.5
        } else {
            1.0
        }
    };
    (0..n).map(|query| (0..n).map(|key| value(query, key)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_seen_both_ways_and_a_target_by_none_before_it() {
        use Architecture::{CausalDecoder, EncoderDecoder, NonCausalDecoder};
        for query in 0..6 {
            for key in 0..6 {
                assert_eq!(sees(CausalDecoder, 3, query, key), key <= query);
                for architecture in [NonCausalDecoder, EncoderDecoder] {
                    let wanted = key < 3 || key <= query;
                    assert_eq!(sees(architecture, 3, query, key), wanted, "{query} {key}");
                }
                assert_eq!(sees(NonCausalDecoder, 0, query, key), sees(CausalDecoder, 0, query, key));
            }
        }
        assert_eq!(picture(EncoderDecoder, 2, 4)[3], [0.5, 0.5, 1.0, 1.0]);
        assert_eq!(picture(NonCausalDecoder, 2, 4)[0], [1.0, 1.0, 0.0, 0.0]);
    }
}
