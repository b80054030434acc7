//! Who sees whom: the one difference between a causal and a non-causal decoder.

use ream_nn::ops::Mask;

use super::cells::Architecture;

/// The mask of the stack that holds input and target, for samples with `n_in` tokens of input each.
///
/// A causal decoder sees what came before. A non-causal decoder also sees all of the input from within the input; no token of
/// the target is seen by a token before it.
pub fn of_decoder(architecture: Architecture, n_in: &[usize]) -> Mask {
    match architecture {
        Architecture::CausalDecoder => Mask::causal(),
        Architecture::NonCausalDecoder | Architecture::EncoderDecoder => Mask::prefix(n_in),
    }
}

/// Within an encoder, and from a decoder to it: all tokens of the input, no padding.
pub fn of_input(n_in: &[usize]) -> Mask {
    Mask::full().with_key_lengths(n_in)
}

/// How a token of input and target comes to see another, by the masks that the models use: 1 by attention within its stack,
/// 0.5 by attention of the decoder to the encoder, 0 not at all. Rows are the tokens that look.
pub fn picture(architecture: Architecture, n_in: usize, n: usize) -> Vec<Vec<f64>> {
    let (alone, input, causal) = (of_decoder(architecture, &[n_in]), of_input(&[n_in]), Mask::causal());
    let shade = |seen: bool, value: f64| if seen { value } else { 0.0 };
    let value = |query: usize, key: usize| {
        if architecture != Architecture::EncoderDecoder {
            return shade(alone.allowed(0, query, key), 1.0);
        }
        match (query.checked_sub(n_in), key.checked_sub(n_in)) {
            (None, None) => shade(input.allowed(0, query, key), 1.0),
            (Some(query), None) => shade(input.allowed(0, query, key), 0.5),
            (Some(query), Some(key)) => shade(causal.allowed(0, query, key), 1.0),
            // The encoder never looks at the decoder.
            (None, Some(_)) => 0.0,
        }
    };
    (0..n).map(|query| (0..n).map(|key| value(query, key)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_seen_both_ways_and_a_target_by_none_before_it() {
        use Architecture::{CausalDecoder, EncoderDecoder, NonCausalDecoder};
        let seen =
            |architecture, n_in, query: usize, key: usize| picture(architecture, n_in, 6)[query][key] > 0.0;
        for query in 0..6 {
            for key in 0..6 {
                assert_eq!(seen(CausalDecoder, 3, query, key), key <= query);
                for architecture in [NonCausalDecoder, EncoderDecoder] {
                    assert_eq!(seen(architecture, 3, query, key), key < 3 || key <= query, "{query} {key}");
                }
                assert_eq!(seen(NonCausalDecoder, 0, query, key), key <= query);
            }
        }
        assert_eq!(picture(EncoderDecoder, 2, 4)[3], [0.5, 0.5, 1.0, 1.0]);
        assert_eq!(picture(NonCausalDecoder, 2, 4)[0], [1.0, 1.0, 0.0, 0.0]);
    }
}
