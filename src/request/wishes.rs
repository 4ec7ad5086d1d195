//! What a person asks of the memory plan, by diffusers' names: one text for a switch, a variable and `config.toml`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Read and written as a person writes it; a number needs no quotes.
macro_rules! as_written {
    ($($wish:ty: $expects:literal,)+) => {$(
        impl Serialize for $wish {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $wish {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(untagged, expecting = $expects)]
                enum Written {
                    Number(i64),
                    Text(String),
                }
                let text = match Written::deserialize(deserializer)? {
                    Written::Number(number) => number.to_string(),
                    Written::Text(text) => text,
                };
                text.parse().map_err(de::Error::custom)
            }
        }
    )+};
}

as_written! {
    AttentionSlicing: "auto, off, max, or heads at a time",
    VaeTiling: "auto, on or off",
    MemoryBudget: "auto, off, or an amount such as \"6 GiB\"",
}

/// How attention is cut over its heads (`--attention-slicing`). On the CPU in f32 there is nothing to cut: its
/// attention keeps no scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttentionSlicing {
    /// As much as the plan needs.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// One head at a time.
    Max,
    /// So many heads at a time.
    Heads(usize),
}

impl FromStr for AttentionSlicing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            "max" => Ok(Self::Max),
            number => match number.parse() {
                Ok(heads) if heads > 0 => Ok(Self::Heads(heads)),
                _ => Err(format!("'{text}' is no slicing: auto, off, max, or heads at a time from 1")),
            },
        }
    }
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

/// Whether the VAE decodes in tiles (`--vae-tiling`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VaeTiling {
    /// Where the plan needs it.
    #[default]
    Auto,
    /// Always, where the picture is larger than a tile.
    On,
    /// Never.
    Off,
}

impl FromStr for VaeTiling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err(format!("'{text}' is no tiling: auto, on or off")),
        }
    }
}

impl fmt::Display for VaeTiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

/// What a run may hold (`--memory-budget`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryBudget {
    /// What is free now.
    #[default]
    Auto,
    /// Whatever it takes.
    Off,
    /// So many bytes.
    Bytes(u64),
}

impl FromStr for MemoryBudget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        match lower.as_str() {
            "auto" => return Ok(Self::Auto),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
        let (number, unit) = lower.split_at(digits);
        let factor = match unit.trim() {
            "" | "b" => 1.,
            "kib" | "ki" | "k" => 1024.,
            "mib" | "mi" | "m" => 1024. * 1024.,
            "gib" | "gi" | "g" => 1024. * 1024. * 1024.,
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            _ => 0.,
        };
        let bytes = number.parse::<f64>().unwrap_or(0.) * factor;
        // Below a MiB the unit is missing, and no machine has 2^60 bytes.
        if (2f64.powi(20)..2f64.powi(60)).contains(&bytes) {
            Ok(Self::Bytes(bytes as u64))
        } else {
            Err(format!("'{text}' is no amount of memory: auto, off, or a number with a unit, as in 6GiB"))
        }
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

/// All wishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryWishes {
    /// How attention is cut.
    pub attention_slicing: AttentionSlicing,
    /// Whether the VAE decodes in tiles.
    pub vae_tiling: VaeTiling,
    /// What a run may hold.
    pub budget: MemoryBudget,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read_as_people_write_them() {
        assert_eq!("6GiB".parse(), Ok(MemoryBudget::Bytes(6 << 30)));
        assert_eq!("1.5 gb".parse(), Ok(MemoryBudget::Bytes(1_500_000_000)));
        assert_eq!("800M".parse(), Ok(MemoryBudget::Bytes(800 << 20)));
        assert_eq!("12 GiB".parse(), Ok(MemoryBudget::Bytes(12 << 30)));
        assert_eq!("8589934592".parse(), Ok(MemoryBudget::Bytes(8 << 30)));
        assert_eq!("Off".parse(), Ok(MemoryBudget::Off));
        for wrong in
            ["", ".", "6", "GiB", "-1GiB", "six GiB", "0MiB", "1.2.3GiB", "1e9 GiB", "99999999999 GiB"]
        {
            assert!(wrong.parse::<MemoryBudget>().unwrap_err().contains("as in 6GiB"), "{wrong}");
        }
        assert_eq!("2".parse(), Ok(AttentionSlicing::Heads(2)));
        assert_eq!("max".parse(), Ok(AttentionSlicing::Max));
        assert!("0".parse::<AttentionSlicing>().is_err() && "some".parse::<AttentionSlicing>().is_err());
        assert_eq!("on".parse(), Ok(VaeTiling::On));
        assert!("yes".parse::<VaeTiling>().is_err());
    }

    #[test]
    fn wishes_are_written_as_they_are_read() {
        fn round<T: Serialize + de::DeserializeOwned + PartialEq + fmt::Debug>(wishes: &[T]) {
            for wish in wishes {
                let json = serde_json::to_string(wish).unwrap();
                assert_eq!(serde_json::from_str::<T>(&json).unwrap(), *wish, "{json}");
            }
        }
        use AttentionSlicing as Slicing;
        round(&[Slicing::Auto, Slicing::Off, Slicing::Max, Slicing::Heads(3)]);
        round(&[VaeTiling::Auto, VaeTiling::On, VaeTiling::Off]);
        round(&[MemoryBudget::Auto, MemoryBudget::Off, MemoryBudget::Bytes(12 << 30)]);
        assert_eq!(serde_json::from_str::<Slicing>("4").unwrap(), Slicing::Heads(4));
        let error = serde_json::from_str::<Slicing>("true").unwrap_err().to_string();
        assert!(error.starts_with("auto, off, max"), "{error}");
    }
}
