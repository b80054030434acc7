use ream_rand::Stream;

use super::solver::{evaluate, policy_iteration, solve, stationary};
use super::structure::{end_components, reachable};
use super::*;

fn tables() -> Vec<(&'static str, TabularMdp)> {
    vec![
        ("riverswim-6", river_swim(6)),
        ("riverswim-12", river_swim(12)),
        ("jumpriverswim-6", jump_river_swim(6)),
        ("access-control", access_control()),
        ("twoloop", two_loops()),
        ("linmix-5", LinearMixture::new(5).mdp),
        ("linmix-10", LinearMixture::new(10).mdp),
    ]
}

#[test]
fn rows_are_laws_and_every_state_is_reached() {
    for (name, mdp) in tables() {
        mdp.check().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(reachable(&mdp).iter().all(|seen| *seen), "{name}");
        assert_eq!(end_components(&mdp).len(), 1, "{name}");
    }
    // The circle pays for moving, so its rewards reach below zero; its rows are laws all the same.
    let circle = Circle::discretised(100);
    for cell in 0..circle.cells() {
        assert!((circle.row(cell).iter().map(|(_, p)| p).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(circle.row(cell).windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}

#[test]
fn the_solver_agrees_with_policy_iteration_and_with_the_stationary_law() {
    for (name, mdp) in tables() {
        let best = solve(&mdp).unwrap();
        let howard = policy_iteration(&mdp).unwrap();
        assert!((best.gain - howard.gain).abs() < 1e-8, "{name} {} {}", best.gain, howard.gain);
        assert!((best.span - howard.span).abs() < 1e-6, "{name} {} {}", best.span, howard.span);
        let law = stationary(&mdp, &best.policy).unwrap();
        let gain: f64 =
            law.iter().enumerate().map(|(s, p)| p * mdp.rewards()[mdp.cell(s, best.policy[s])]).sum();
        assert!((best.gain - gain).abs() < 1e-8, "{name} {} {gain}", best.gain);
        // The optimality equation.
        for s in 0..mdp.states() {
            let row = &best.q[mdp.cells_of(s)];
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            assert!((most - best.bias[s]).abs() < 1e-7, "{name} {s}");
        }
        // No deterministic change of one action does better.
        for s in 0..mdp.states() {
            for a in 0..mdp.actions() {
                let mut other = best.policy.clone();
                other[s] = a;
                let (gain, _) = evaluate(&mdp, &other).unwrap();
                assert!(gain <= best.gain + 1e-9, "{name}");
            }
        }
    }
}

#[test]
fn known_figures() {
    let spans = [6, 12].map(|n| solve(&river_swim(n)).unwrap().span);
    assert!((spans[0] - 6.3).abs() < 0.05 && (spans[1] - 14.9).abs() < 0.05, "{spans:?}");
    let loops = solve(&two_loops()).unwrap();
    assert!((loops.gain - 0.2).abs() < 1e-9);
    let left = evaluate(&two_loops(), &[0; 9]).unwrap().0;
    assert!((left - 0.1).abs() < 1e-12);
    // Accepting everybody is worse than turning cheap customers away when servers are scarce.
    let queue = access_control();
    let greedy = evaluate(&queue, &[1; 44]).unwrap().0;
    let best = solve(&queue).unwrap();
    assert!(best.gain > greedy + 0.005, "{} {greedy}", best.gain);
    for free in 1..=10 {
        let of = &best.policy[4 * free..4 * free + 4];
        // More customers come than ten servers can serve: the cheapest are never worth it, the best always.
        assert_eq!((of[0], of[3]), (0, 1), "{free}");
        assert_eq!(of[1], usize::from(free >= 4), "{free} free servers and priority 2");
    }
}

#[test]
fn the_circle_is_solved_finely_enough() {
    let [coarse, fine, finer] = [200, 400, 800].map(|cells| solve(&Circle::discretised(cells)).unwrap());
    assert!((coarse.gain - fine.gain).abs() < 3e-4, "{} {}", coarse.gain, fine.gain);
    assert!((fine.gain - finer.gain).abs() < 1e-5, "{} {}", fine.gain, finer.gain);
    // A long walk under the best policy earns that gain.
    let mut circle = Circle::default();
    let mut rng = Stream::new(5, "circle").at(0);
    let steps = 200_000;
    let total: f64 = (0..steps)
        .map(|_| {
            let action = fine.policy[Circle::cell_of(circle.position, 400)];
            circle.step(&mut rng, action)
        })
        .sum();
    assert!(
        (total / f64::from(steps) - fine.gain).abs() < 3e-3,
        "{} {}",
        total / f64::from(steps),
        fine.gain
    );
}

#[test]
fn the_same_seed_gives_the_same_walk_and_a_state_can_be_set_again() {
    for (name, mdp) in tables() {
        let walk = || {
            let mut rng = Stream::new(9, name).at(0);
            let mut s = mdp.start();
            (0..1000)
                .map(|t| {
                    let (next, reward) = mdp.step(&mut rng, s, t % mdp.actions());
                    s = next;
                    (next, reward.to_bits())
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(walk(), walk(), "{name}");
    }
    let mut circle = Circle::default();
    let mut rng = Stream::new(9, "circle").at(0);
    (0..100).for_each(|_| _ = circle.step(&mut rng, 2));
    let (kept, kept_rng) = (circle, rng.clone());
    let ahead = |mut circle: Circle, mut rng: Rng| {
        (0..50)
            .map(|_| circle.step(&mut rng, 0))
            .collect::<Vec<_>>()
            .into_iter()
            .chain([circle.position])
            .collect::<Vec<_>>()
    };
    let there = ahead(circle, rng);
    circle = Circle { position: kept.position };
    assert_eq!(there, ahead(circle, kept_rng));
    assert!((0.0..1.0).contains(&circle.position));
}

#[test]
fn a_uniform_policy_earns_what_its_stationary_law_says() {
    for (name, mdp) in tables() {
        // The uniform policy as a process with one action.
        let actions = mdp.actions();
        let rows = (0..mdp.states())
            .map(|s| {
                let mut row = vec![0.0; mdp.states()];
                for a in 0..actions {
                    for &(next, p) in mdp.row(mdp.cell(s, a)) {
                        row[next] += p / actions as f64;
                    }
                }
                row.into_iter().enumerate().filter(|(_, p)| *p > 0.0).collect()
            })
            .collect();
        let rewards: Vec<f64> =
            mdp.rewards().chunks(actions).map(|r| r.iter().sum::<f64>() / actions as f64).collect();
        let mixed = TabularMdp::new(1, mdp.start(), rows, rewards);
        let (gain, _) = evaluate(&mixed, &vec![0; mdp.states()]).unwrap();
        let mut rng = Stream::new(3, name).at(0);
        let (mut s, mut total) = (mdp.start(), 0.0);
        let steps = 200_000;
        for _ in 0..steps {
            let action = rng.below(actions);
            let (next, reward) = mdp.step(&mut rng, s, action);
            s = next;
            total += reward;
        }
        let mean = total / f64::from(steps);
        assert!((mean - gain).abs() < 0.05 * gain + 1e-3, "{name} {mean} {gain}");
    }
}

#[test]
fn mixtures_are_nested_and_their_features_give_expectations() {
    let [five, ten] = [5, 10].map(LinearMixture::new);
    assert_eq!(five.kernels[..], ten.kernels[..5]);
    assert_eq!(five.mdp.rewards(), ten.mdp.rewards());
    assert!((ten.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12 && ten.weights.iter().all(|w| *w >= 0.0));
    let v: Vec<f64> = (0..10).map(|s| (s * s % 7) as f64).collect();
    let x = ten.features(&v);
    for cell in 0..ten.mdp.cells() {
        let dot: f64 = x[cell * 10..][..10].iter().zip(&ten.weights).map(|(x, w)| x * w).sum();
        assert!((dot - ten.mdp.expect(cell, &v)).abs() < 1e-12);
    }
}

/// Two islands: from 0 one can go to either, and stays there.
fn islands() -> TabularMdp {
    let rows =
        vec![vec![(1, 1.0)], vec![(2, 1.0)], vec![(1, 1.0)], vec![(1, 1.0)], vec![(2, 1.0)], vec![(2, 1.0)]];
    TabularMdp::new(2, 0, rows, vec![0.0, 0.0, 1.0, 0.5, 0.2, 0.1])
}

#[test]
fn several_closed_classes_are_found() {
    assert_eq!(end_components(&islands()), [vec![1], vec![2]]);

    // A state that is left for good does no harm.
    let rows = vec![vec![(1, 1.0)], vec![(2, 1.0)], vec![(1, 1.0)]];
    let mdp = TabularMdp::new(1, 0, rows, vec![0.0, 1.0, 0.0]);
    assert_eq!(end_components(&mdp), [vec![1, 2]]);
    // Staying for ever in several places is fine while one can still get from each to each.
    let rows = vec![vec![(0, 1.0)], vec![(1, 1.0)], vec![(1, 1.0)], vec![(0, 1.0)]];
    let mdp = TabularMdp::new(2, 0, rows, vec![0.3, 0.0, 0.6, 0.0]);
    assert_eq!(end_components(&mdp), [vec![0, 1]]);
    assert!((solve(&mdp).unwrap().gain - 0.6).abs() < 1e-9);
}

#[test]
fn a_bad_row_is_named() {
    let rows = vec![vec![(0, 0.5), (1, 0.4)], vec![(1, 1.0)]];
    let error = TabularMdp::new(1, 0, rows, vec![0.0; 2]).check().unwrap_err().to_string();
    assert_eq!(error, "state 0, action 0: wanted probabilities that sum to 1, got 0.9");
}
