//! Which states a process can keep to itself in, and which it can reach.

use super::TabularMdp;

/// States that some policy reaches from the start.
#[must_use]
pub fn reachable(mdp: &TabularMdp) -> Vec<bool> {
    let mut seen = vec![false; mdp.states()];
    let mut open = vec![mdp.start()];
    seen[mdp.start()] = true;
    while let Some(s) = open.pop() {
        for cell in mdp.cells_of(s) {
            for &(next, p) in mdp.row(cell) {
                if p > 0.0 && !std::mem::replace(&mut seen[next], true) {
                    open.push(next);
                }
            }
        }
    }
    seen
}

/// Maximal end components: the largest sets of states in which some policy stays for ever and gets from each to each. A
/// process is weakly communicating, so that its best gain does not depend on the start, exactly when there is one: whatever
/// lies outside is left for good by every policy. Sets in order of their first state.
#[must_use]
pub fn end_components(mdp: &TabularMdp) -> Vec<Vec<usize>> {
    let mut allowed = vec![true; mdp.cells()];
    loop {
        let component = components(mdp, &allowed);
        let mut changed = false;
        for s in 0..mdp.states() {
            let stays = |cell: usize| {
                mdp.row(cell).iter().all(|&(next, p)| p <= 0.0 || component[next] == component[s])
            };
            for cell in mdp.cells_of(s).filter(|&cell| !stays(cell)) {
                changed |= std::mem::replace(&mut allowed[cell], false);
            }
        }
        if !changed {
            let mut sets: Vec<Vec<usize>> = vec![Vec::new(); mdp.states()];
            for s in 0..mdp.states() {
                if allowed[mdp.cells_of(s)].contains(&true) {
                    sets[component[s]].push(s);
                }
            }
            sets.retain(|set| !set.is_empty());
            sets.sort();
            return sets;
        }
    }
}

/// Strongly connected components of the graph of allowed actions (Kosaraju): the number of each state's.
fn components(mdp: &TabularMdp, allowed: &[bool]) -> Vec<usize> {
    let n = mdp.states();
    let (mut forward, mut backward) = (vec![Vec::new(); n], vec![Vec::new(); n]);
    for cell in (0..mdp.cells()).filter(|&cell| allowed[cell]) {
        let s = cell / mdp.actions();
        for &(next, _) in mdp.row(cell).iter().filter(|(_, p)| *p > 0.0) {
            forward[s].push(next);
            backward[next].push(s);
        }
    }
    let (mut seen, mut order) = (vec![false; n], Vec::with_capacity(n));
    for root in 0..n {
        if seen[root] {
            continue;
        }
        seen[root] = true;
        let mut path = vec![(root, 0)];
        while let Some((s, edge)) = path.pop() {
            match forward[s].get(edge) {
                Some(&next) => {
                    path.push((s, edge + 1));
                    if !std::mem::replace(&mut seen[next], true) {
                        path.push((next, 0));
                    }
                }
                None => order.push(s),
            }
        }
    }
    let mut component = vec![usize::MAX; n];
    for (number, &root) in order.iter().rev().enumerate() {
        if component[root] != usize::MAX {
            continue;
        }
        component[root] = number;
        let mut open = vec![root];
        while let Some(s) = open.pop() {
            for &before in &backward[s] {
                if component[before] == usize::MAX {
                    component[before] = number;
                    open.push(before);
                }
            }
        }
    }
    component
}
