//! What tells two models apart, for parts that were trained for one of them.

use sha2::{Digest, Sha256};

use super::Model;
use crate::quant::Matrix;

fn add_floats(hash: &mut Sha256, floats: &[f32]) {
    hash.update(floats.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
}

fn add_matrix(hash: &mut Sha256, matrix: &Matrix) {
    let mut row = vec![0.0; matrix.inputs()];
    for output in 0..matrix.outputs() {
        matrix.read_row(output, &mut row);
        add_floats(hash, &row);
    }
}

impl Model {
    /// A number that differs between models of other shapes or other weights: the beginning of SHA-256 over all of them, as they are read
    /// after quantising.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Sha256::new();
        let c = &self.config;
        for size in [c.blocks, c.width, c.heads, c.kv_heads, c.head_size, c.ffn, c.vocab] {
            hash.update((size as u64).to_le_bytes());
        }
        add_floats(&mut hash, &[c.eps, c.rope_base]);
        add_matrix(&mut hash, &self.embedding);
        if !c.tied_head {
            add_matrix(&mut hash, &self.head);
        }
        add_floats(&mut hash, &self.norm);
        for block in &self.blocks {
            add_floats(&mut hash, &block.attention_norm);
            add_floats(&mut hash, &block.ffn_norm);
            block.matrices().into_iter().for_each(|m| add_matrix(&mut hash, m));
        }
        hash.finalize()[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use ream_nn::Init;
    use ream_nn::Module;
    use ream_nn::models::Decoder;

    use super::*;
    use crate::SmallConfig;

    #[test]
    fn models_of_other_weights_or_shapes_have_other_fingerprints() {
        let config = SmallConfig { d: 32, layers: 2, heads: 2, ..SmallConfig::default() };
        let decoder = |seed| Decoder::new(&Init::new(seed), &config.network(40)).unwrap();
        let of = |decoder: &Decoder| Model::from_decoder(decoder).unwrap().fingerprint();
        let one = decoder(1);
        let before = of(&one);
        assert_eq!(before, of(&decoder(1)));
        assert_ne!(before, of(&decoder(2)));
        assert_ne!(before, of(&Decoder::new(&Init::new(1), &config.network(41)).unwrap()));
        // A weight of the last block alone.
        let down = one.stack.blocks[1].params().pop().unwrap();
        down.update(|w| w[0] += 0.5);
        assert_ne!(before, of(&one));
    }
}
