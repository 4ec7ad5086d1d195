//! Values that are not plain text or numbers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An enum of words, each with its name.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// The word in the configuration.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

words! {
    /// Where the model runs.
    Device {
        /// A GPU if there is one that this build supports.
        #[default]
        Auto = "auto",
        /// Apple's.
        Metal = "metal",
        /// NVIDIA's.
        Cuda = "cuda",
        /// None.
        Cpu = "cpu",
    }
}

words! {
    /// The model's floats.
    Dtype {
        /// f16 on a GPU, f32 on the CPU.
        #[default]
        Auto = "auto",
        /// 32 bits.
        F32 = "f32",
        /// 16 bits.
        F16 = "f16",
        /// 16 bits with the range of 32.
        Bf16 = "bf16",
    }
}

words! {
    /// How pictures are drawn.
    Images {
        /// As the terminal says that it can.
        #[default]
        Auto = "auto",
        /// kitty's protocol.
        Kitty = "kitty",
        /// kitty's protocol with Unicode placeholders, for tmux.
        Placeholder = "placeholder",
        /// iTerm2's inline images.
        Iterm2 = "iterm2",
        /// Sixels.
        Sixel = "sixel",
        /// Coloured half blocks.
        HalfBlocks = "half-blocks",
        /// Not at all.
        None = "none",
    }
}

words! {
    /// Keys of the prompt line.
    EditMode {
        /// As in Emacs and readline.
        #[default]
        Emacs = "emacs",
        /// As in vi.
        Vi = "vi",
    }
}

/// Any single value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a text, a number, true or false")]
pub enum Scalar {
    /// `true`, `false`.
    Flag(bool),
    /// A whole number.
    Whole(i64),
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => flag.fmt(f),
            Self::Whole(whole) => whole.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_serde_reads() {
        for images in [Images::Auto, Images::Placeholder, Images::None] {
            let json = serde_json::to_string(&images).unwrap();
            assert_eq!(json, format!("\"{}\"", images.as_str()));
        }
    }
}
