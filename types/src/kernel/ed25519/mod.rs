//! Strict Ed25519 of many signatures, each by itself, in the lanes of vectors.
//!
//! There is no equation over several signatures: every lane computes the point of its own signature, and compares its
//! encoding with that signature's first half, as [`crate::sign::verify`] describes. Where the processor lacks the
//! instructions, the library verifies one after the other.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod field;
#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(target_arch = "x86_64")]
mod point;

use crate::{Pubkey, Signature, sign::verify};

/// Signatures verified side by side.
pub const LANES: usize = 8;

/// A signature to verify.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// Who should have signed.
    pub signer: &'a Pubkey,
    /// What.
    pub message: &'a [u8],
    /// The signature.
    pub signature: &'a Signature,
}

/// What signatures are verified with. There is none that this processor cannot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Way);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// One after the other, with the library.
    Library,
    /// Eight lanes.
    #[cfg(target_arch = "x86_64")]
    Ifma,
}

impl Kernel {
    /// All that this processor can run, the fastest last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut kernels = vec![Self(Way::Library)];
        #[cfg(target_arch = "x86_64")]
        {
            let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma");
            kernels.extend(wide.then_some(Self(Way::Ifma)));
        }
        kernels
    }

    /// The fastest.
    #[must_use]
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma") {
                return Self(Way::Ifma);
            }
        }
        Self(Way::Library)
    }

    /// Its name in benchmarks.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Way::Library => "library",
            #[cfg(target_arch = "x86_64")]
            Way::Ifma => "avx512ifma",
        }
    }

    /// From how many signatures on the lanes take less time than one after the other. `None`: never.
    #[must_use]
    pub fn worth_from(self) -> Option<usize> {
        match self.0 {
            Way::Library => None,
            #[cfg(target_arch = "x86_64")]
            Way::Ifma => Some(2),
        }
    }

    /// Whether each signature holds, strictly.
    ///
    /// # Panics
    /// If there are not as many answers as checks.
    pub fn verify(self, checks: &[Check<'_>], answers: &mut [bool]) {
        assert_eq!(checks.len(), answers.len(), "an answer for every check");
        match self.0 {
            Way::Library => {
                for (check, answer) in checks.iter().zip(answers) {
                    *answer = verify(check.signer, check.message, check.signature);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Way::Ifma => {
                for (checks, answers) in checks.chunks(LANES).zip(answers.chunks_mut(LANES)) {
                    let lanes = lanes::Lanes::new(checks);
                    // SAFETY: this way is only taken where the processor has the features.
                    let found = unsafe { lanes.hold() };
                    for (lane, answer) in answers.iter_mut().enumerate() {
                        *answer = found[lane];
                    }
                }
            }
        }
    }
}
