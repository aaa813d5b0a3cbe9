//! Reasons that are counted: an enum whose variants have names for metrics.

/// Defines an enum of reasons, each with its name in snake case, for labels of metrics. A reason's place in `ALL` is
/// its place in an array of counters.
///
/// ```
/// sundog_types::reasons! {
///     /// Why a letter came back.
///     pub enum Returned {
///         /// Nobody lives there.
///         Unknown = "unknown",
///         /// The box is full.
///         Full = "full",
///     }
/// }
/// assert_eq!(Returned::ALL[1].name(), "full");
/// ```
#[macro_export]
macro_rules! reasons {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$doc:meta])* $reason:ident = $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$doc])* $reason,)*
        }

        impl $name {
            /// Every reason, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$reason,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The reason in snake case, for labels of metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$reason => $text,)* }
            }
        }
    };
}
