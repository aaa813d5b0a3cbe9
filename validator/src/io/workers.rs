//! The threads that do the node's heavy work, and what they remember of signatures.

use super::{lanes::Lanes, watch::Watch};
use crate::node::{Input, Job};
use flume::Sender;
use std::sync::Arc;
use sundog_types::sign::Verifier;

/// Jobs, or lots of checks, that wait for a thread. The node bounds how much of each kind is under way, a tenth of this
/// in all, so that it never waits here while its answers wait for it.
const WAITING_MAX: usize = 65_536;

/// Hands jobs to the threads, in the order in which they come.
///
/// Threads that wait for a job sleep at once. (Those of a pool for divided work first look around for a while, which is
/// right for work that comes in thousands of crumbs, and was a tenth of all the processor time of a localnet.) What a
/// job divides itself goes to rayon's pool, which sleeps until then.
pub struct Workers {
    jobs: Sender<Vec<Job>>,
}

impl Workers {
    /// Starts `threads` of them; as many as there are processors for 0. They end when this is dropped.
    ///
    /// # Errors
    /// If the system has no threads to give.
    pub fn start(threads: usize, lanes: &Lanes, watch: impl Fn() -> Watch) -> std::io::Result<Self> {
        let threads = match threads {
            0 => std::thread::available_parallelism()?.get(),
            threads => threads,
        };
        // Refused if there is a pool already, which then serves as well.
        let _ = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|number| format!("shares-{number}"))
            .build_global();
        let (jobs, waiting) = flume::bounded::<Vec<Job>>(WAITING_MAX);
        let verifier = Arc::<Verifier>::default();
        for number in 0..threads {
            let (waiting, lanes, watch) = (waiting.clone(), lanes.clone(), watch());
            let verifier = Arc::clone(&verifier);
            std::thread::Builder::new().name(format!("work-{number}")).spawn(move || {
                let _watch = watch;
                for done in waiting.into_iter().flat_map(|jobs| Job::run_all(jobs, &verifier)) {
                    if !lanes.answer(Input::Done(done)) {
                        return;
                    }
                }
            })?;
        }
        Ok(Self { jobs })
    }

    /// Has jobs done, one after the other; their answers come by the lane of consensus.
    pub fn run(&self, jobs: Vec<Job>) {
        // Threads that are gone have ended the process.
        let _ = self.jobs.send(jobs);
    }
}
