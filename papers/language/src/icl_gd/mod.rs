//! icl-gd
pub mod compare;
pub mod construction;
pub mod copying;
pub mod descent;
pub mod lanes;
pub mod lsa;
pub mod sine;
pub mod tasks;
pub mod training;

use lanes::Real;
use ream_rand::Stream;
use tasks::{Chunk, LinearTasks, Shape, Tasks};

/// C1
pub fn construction_difference<F: Real>(shape: Shape, layers: usize, start: bool, tasks: usize, stream: Stream) -> f64 {
    let law = LinearTasks::standard(shape);
    let rates = vec![0.5 * law.best_rate(); layers];
    let narrow: Vec<F> = rates.iter().map(|&r| F::of(r)).collect();
    let start: Option<Vec<F>> = start.then(|| {
        let mut rng = stream.child(u64::MAX).at(0);
        (0..shape.d * shape.d_y).map(|_| F::of(rng.normal())).collect()
    });
    let (network, parameters) = construction::descent_network(shape, &rates, start.as_deref());
    let products = network.products(&parameters);
    let mut pass = lsa::Pass::new(&network);
    let mut most = 0.0;
    for chunk in law.set::<F>(stream, tasks) {
        let chunk: Chunk<F> = chunk;
        pass.forward(&products, &chunk, start.as_deref());
        let weights = descent::descend(&chunk, &narrow, start.as_deref());
        for (a, b) in pass.guess().iter().zip(descent::guess(&weights, &chunk)) {
            for l in 0..chunk.used {
                let apart = (a.0[l].wide() - b.0[l].wide()).abs();
                if !(apart <= most) {
                    most = apart;
                }
            }
        }
    }
    most
}
