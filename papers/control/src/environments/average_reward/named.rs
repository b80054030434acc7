//! The tables that have names.

use super::TabularMdp;

fn finish(states: usize, actions: usize, start: usize, dense: &[f64], rewards: Vec<f64>) -> TabularMdp {
    let rows = dense
        .chunks(states)
        .map(|row| row.iter().copied().enumerate().filter(|(_, p)| *p > 0.0).collect())
        .collect();
    TabularMdp::new(actions, start, rows, rewards)
}

fn river(n: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut p, mut r) = (vec![0.0; n * 2 * n], vec![0.0; n * 2]);
    for s in 0..n {
        let (left, right) = (2 * s * n, (2 * s + 1) * n);
        p[left + s.saturating_sub(1)] = 1.0;
        let moves: &[(usize, f64)] = if s == 0 {
            &[(0, 0.4), (1, 0.6)]
        } else if s == n - 1 {
            &[(s - 1, 0.4), (s, 0.6)]
        } else {
            &[(s - 1, 0.05), (s, 0.6), (s + 1, 0.35)]
        };
        for &(next, probability) in moves {
            p[right + next] = probability;
        }
    }
    r[0] = 0.005;
    r[2 * n - 1] = 1.0;
    (p, r)
}

/// RiverSwim (Strehl & Littman 2008) with `n >= 2` states: action 0 swims left and always succeeds, action 1 swims right
/// against the current. Left at the source pays 0.005, right at the far end 1.
#[must_use]
pub fn river_swim(n: usize) -> TabularMdp {
    let n = n.max(2);
    let (p, r) = river(n);
    finish(n, 2, 0, &p, r)
}

/// RiverSwim in which the next state is uniform with probability 0.01.
#[must_use]
pub fn jump_river_swim(n: usize) -> TabularMdp {
    let n = n.max(2);
    let (p, r) = river(n);
    let p: Vec<f64> = p.iter().map(|p| 0.99 * p + 0.01 / n as f64).collect();
    finish(n, 2, 0, &p, r)
}

/// Servers of the access-control queue.
const SERVERS: usize = 10;
/// Priorities of its customers.
const PRIORITIES: [f64; 4] = [1.0, 2.0, 4.0, 8.0];
/// How often a busy server becomes free in a step.
const FREED: f64 = 0.06;

/// The access-control queue (Sutton & Barto): state `4 * free servers + priority`; action 1 accepts the customer at the head,
/// which pays its priority over 8 where a server is free; then each busy server becomes free with probability 0.06 and
/// the next customer comes.
#[must_use]
pub fn access_control() -> TabularMdp {
    let kinds = PRIORITIES.len();
    let states = (SERVERS + 1) * kinds;
    let (mut p, mut r) = (vec![0.0; states * 2 * states], vec![0.0; states * 2]);
    for free in 0..=SERVERS {
        for (kind, priority) in PRIORITIES.iter().enumerate() {
            let state = free * kinds + kind;
            for action in 0..2 {
                let accepted = action == 1 && free > 0;
                if accepted {
                    r[2 * state + action] = priority / 8.0;
                }
                let left = free - usize::from(accepted);
                let row = &mut p[(2 * state + action) * states..][..states];
                for (freed, chance) in binomial(SERVERS - left, FREED).into_iter().enumerate() {
                    for next in 0..kinds {
                        row[(left + freed) * kinds + next] += chance / kinds as f64;
                    }
                }
            }
        }
    }
    finish(states, 2, SERVERS * kinds, &p, r)
}

/// Probabilities of 0..=n successes.
fn binomial(n: usize, p: f64) -> Vec<f64> {
    let mut law = vec![1.0];
    for _ in 0..n {
        let mut next = vec![0.0; law.len() + 1];
        for (k, mass) in law.iter().enumerate() {
            next[k] += mass * (1.0 - p);
            next[k + 1] += mass * p;
        }
        law = next;
    }
    law
}

/// Two loops of five steps through state 0, all deterministic: action 0 there enters the left loop (states 1 to 4), which
/// pays 0.5 when it closes whatever is done; action 1 enters the right one (5 to 8), which pays 1 when it closes, and in
/// which action 0 drops back to state 0 without pay.
#[must_use]
pub fn two_loops() -> TabularMdp {
    let (states, mut rows, mut rewards) = (9, vec![Vec::new(); 18], vec![0.0; 18]);
    rows[0] = vec![(1, 1.0)];
    rows[1] = vec![(5, 1.0)];
    for s in 1..states {
        let closes = s == 4 || s == 8;
        let next = if closes { 0 } else { s + 1 };
        let right = s > 4;
        rows[2 * s] = vec![(if right { 0 } else { next }, 1.0)];
        rows[2 * s + 1] = vec![(next, 1.0)];
        if closes {
            rewards[2 * s + 1] = if right { 1.0 } else { 0.5 };
            rewards[2 * s] = if right { 0.0 } else { 0.5 };
        }
    }
    TabularMdp::new(2, 0, rows, rewards)
}
