//! Memory that is free in this process, given back to the system.
#![allow(unsafe_code)]

/// Gives free pages back to the system: glibc keeps what was freed between what is not. Takes some milliseconds after a
/// load, and next to nothing at rest. Does nothing where the C library is another one, which does not need it.
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: it may be called at any time and from any thread; it takes no pointer, and touches nothing that is
        // allocated.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

/// Lets glibc keep free memory in as many places as there are processors, and not in up to eight times as many: a thread that
/// waits most of the time needs no place of its own, and what is free in one is no use to the others. To be called before
/// there are threads. Does nothing where the C library is another one.
pub fn share_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let arenas = libc::c_int::try_from(processors.max(2)).unwrap_or(libc::c_int::MAX);
        // SAFETY: it takes two numbers, and only sets how many arenas are made from now on.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, arenas);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_stays_as_it_is() {
        share_arenas();
        let blocks: Vec<Vec<u8>> = (0..4_000_usize).map(|number| vec![number as u8; 10 + number]).collect();
        let mut kept: Vec<Vec<u8>> = Vec::new();
        for (number, block) in blocks.into_iter().enumerate() {
            if number % 7 == 0 {
                kept.push(block);
            }
        }
        let others =
            std::thread::spawn(|| (0..2_000_usize).map(|number| vec![3; number]).map(|v| v.len()).sum::<usize>());
        trim();
        trim();
        assert_eq!(others.join().expect("it ends"), 1_999_000);
        for (at, block) in kept.iter().enumerate() {
            let number = 7 * at;
            assert!(block.len() == 10 + number && block.iter().all(|byte| *byte == number as u8));
        }
    }
}
