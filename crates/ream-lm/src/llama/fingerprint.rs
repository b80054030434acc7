//! What tells two models apart, for parts that were trained for one of them.

use super::Model;
use crate::quant::Matrix;

/// Of every matrix, each so-many-th row is looked at.
const STRIDE: usize = 16;

/// FNV-1a, 64 bits.
struct Fnv(u64);

impl Fnv {
    fn add(&mut self, word: u64) {
        for byte in word.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn matrix(&mut self, matrix: &Matrix) {
        let mut row = vec![0.0; matrix.inputs()];
        for output in (0..matrix.outputs()).step_by(STRIDE) {
            matrix.read_row(output, &mut row);
            row.chunks(2).for_each(|pair| {
                let high = pair.get(1).map_or(0, |x| u64::from(x.to_bits()));
                self.add(u64::from(pair[0].to_bits()) | high << 32);
            });
        }
    }
}

impl Model {
    /// A number that differs between models of other shapes or other weights (it looks at a sixteenth of them). It guards against mistakes, not
    /// against malice.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        let c = &self.config;
        for size in [c.blocks, c.width, c.heads, c.kv_heads, c.head_size, c.ffn, c.vocab] {
            hash.add(size as u64);
        }
        hash.add(u64::from(c.eps.to_bits()) | u64::from(c.rope_base.to_bits()) << 32);
        hash.matrix(&self.embedding);
        if !c.tied_head {
            hash.matrix(&self.head);
        }
        self.norm.iter().for_each(|x| hash.add(u64::from(x.to_bits())));
        for block in &self.blocks {
            block.matrices().into_iter().for_each(|m| hash.matrix(m));
        }
        hash.0
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
