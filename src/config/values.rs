//! Values that are not plain text or numbers.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

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

words! {
    /// Whether the VAE decodes in tiles.
    VaeTiling {
        /// If the budget wants it.
        #[default]
        Auto = "auto",
        /// Always.
        On = "on",
        /// Never.
        Off = "off",
    }
}

/// How attention is sliced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttentionSlicing {
    /// If the budget wants it.
    #[default]
    Auto,
    /// Never.
    Off,
    /// As thin as can be.
    Max,
    /// So many heads at a time.
    Heads(u32),
}

impl fmt::Display for AttentionSlicing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::Max => f.write_str("max"),
            Self::Heads(heads) => heads.fmt(f),
        }
    }
}

impl Serialize for AttentionSlicing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Heads(heads) => serializer.serialize_u32(*heads),
            word => serializer.collect_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for AttentionSlicing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl Visitor<'_> for Words {
            type Value = AttentionSlicing;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("auto, off, max, or how many heads at a time")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                match text {
                    "auto" => Ok(AttentionSlicing::Auto),
                    "off" => Ok(AttentionSlicing::Off),
                    "max" => Ok(AttentionSlicing::Max),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, heads: i64) -> Result<Self::Value, E> {
                let some = u32::try_from(heads).ok().filter(|heads| *heads > 0);
                some.map(AttentionSlicing::Heads)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Signed(heads), &self))
            }
        }
        deserializer.deserialize_any(Words)
    }
}

/// The memory that a picture may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryBudget {
    /// What is free.
    #[default]
    Auto,
    /// Whatever it takes.
    Off,
    /// So many bytes.
    Bytes(u64),
}

impl MemoryBudget {
    /// `auto`, `off`, `12 GiB`, `12gb`, `800 MiB`, `8589934592`.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        match text.as_str() {
            "auto" => return Some(Self::Auto),
            "off" => return Some(Self::Off),
            _ => {}
        }
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit: f64 = match unit.trim() {
            "" | "b" => 1.0,
            "kib" | "ki" | "k" => 1024.0,
            "mib" | "mi" | "m" => 1024.0 * 1024.0,
            "gib" | "gi" | "g" => 1024.0 * 1024.0 * 1024.0,
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            _ => return None,
        };
        let bytes = number.parse::<f64>().ok()? * unit;
        (bytes >= 1.0 && bytes < 2f64.powi(60)).then_some(Self::Bytes(bytes as u64))
    }
}

impl fmt::Display for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::Bytes(bytes) => bytes.fmt(f),
        }
    }
}

impl Serialize for MemoryBudget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MemoryBudget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Scalar::deserialize(deserializer)?.to_string();
        Self::parse(&text).ok_or_else(|| {
            let hint = "write auto, off, or an amount such as \"12 GiB\" or \"800 MiB\"";
            de::Error::custom(format!("`{text}` is no amount of memory; {hint}"))
        })
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
    fn memory_is_written_as_people_write_it() {
        let bytes = |text| match MemoryBudget::parse(text) {
            Some(MemoryBudget::Bytes(bytes)) => bytes,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(bytes("12 GiB"), 12 << 30);
        assert_eq!(bytes("1.5g"), 3 << 29);
        assert_eq!(bytes("800MB"), 800_000_000);
        assert_eq!(bytes("8589934592"), 8 << 30);
        assert_eq!(MemoryBudget::parse("Auto"), Some(MemoryBudget::Auto));
        for wrong in ["", "lots", "12 bananas", "-1 GiB", "0", "1e9 GiB", "99999999999 GiB", "."] {
            assert_eq!(MemoryBudget::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn words_are_what_serde_reads() {
        for images in [Images::Auto, Images::Placeholder, Images::None] {
            let json = serde_json::to_string(&images).unwrap();
            assert_eq!(json, format!("\"{}\"", images.as_str()));
        }
    }
}
