use ream_nn::*; use ream_nn::layers::*; use ream_nn::training::*; use std::time::Instant;
fn main(){
 let t: usize = std::env::args().nth(1).and_then(|t| t.parse().ok()).unwrap_or(2); set_threads(t);
 let init=Init::new(1);
 let l=[Linear::new(&init.at("a"),23,256,true),Linear::new(&init.at("b"),256,256,true),Linear::new(&init.at("c"),256,1,true)];
 let params:Vec<Param>=l.iter().flat_map(|l|l.params()).collect();
 let mut adam=Adam::new(&params,AdamConfig::default());
 let x=Tensor::randn(&[256,23],1.0,&mut ream_rand::Stream::new(1,"x").at(0));
 let mut best=[f64::MAX;4];
 for _ in 0..300 {
  let t0=Instant::now();
  let y=l[2].forward(&l[1].forward(&l[0].forward(&x).unwrap().relu()).unwrap().relu()).unwrap().square().mean();
  let t1=Instant::now();
  let g=y.backward().unwrap();
  let t2=Instant::now();
  adam.step(&g,1.0);
  let t3=Instant::now();
  for (b,d) in best.iter_mut().zip([t1-t0,t2-t1,t3-t2,t3-t0]) { *b=b.min(d.as_secs_f64()); }
 }
 println!("fwd {:.3} bwd {:.3} adam {:.3} all {:.3} ms", best[0]*1e3,best[1]*1e3,best[2]*1e3,best[3]*1e3);
 // parts
 let w=Tensor::randn(&[256,256],1.0,&mut ream_rand::Stream::new(1,"x").at(0));
 let h=Tensor::randn(&[256,256],1.0,&mut ream_rand::Stream::new(1,"x").at(0));
 let mut b=f64::MAX; for _ in 0..300 { let t=Instant::now(); let _=ops::linear(&h,&w,None).unwrap(); b=b.min(t.elapsed().as_secs_f64()); } println!("linear 256^3 {:.1} us", b*1e6);
 let mut b=f64::MAX; for _ in 0..300 { let t=Instant::now(); let _=h.relu(); b=b.min(t.elapsed().as_secs_f64()); } println!("relu {:.1} us", b*1e6);
 let mut c=vec![0f32;65536];
 for (n,a,bb) in [("nt",gemm::Mat::new(h.data(),256,256),gemm::Mat::new(w.data(),256,256).t()),("nn",gemm::Mat::new(h.data(),256,256),gemm::Mat::new(w.data(),256,256)),("tn",gemm::Mat::new(h.data(),256,256).t(),gemm::Mat::new(w.data(),256,256))] {
 let mut b=f64::MAX; for _ in 0..300 { let t=Instant::now(); gemm::gemm(&mut c,256,a,bb,gemm::Start::Zero); b=b.min(t.elapsed().as_secs_f64()); } println!("{n} {:.1} us {:.0} GF/s", b*1e6, 2.0*256f64.powi(3)/b*1e-9);}
}
