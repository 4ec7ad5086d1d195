//! What a person asks of the memory plan, by diffusers' names.

use std::str::FromStr;

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
            "gib" | "g" | "gi" => 1u64 << 30,
            "gb" => 1_000_000_000,
            "mib" | "m" | "mi" => 1 << 20,
            "mb" => 1_000_000,
            _ => 0,
        };
        let bytes = number.parse::<f64>().unwrap_or(0.) * factor as f64;
        if bytes >= 1. {
            Ok(Self::Bytes(bytes as u64))
        } else {
            Err(format!("'{text}' is no amount of memory: auto, off, or a number with a unit, as in 6GiB"))
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
        assert_eq!("off".parse(), Ok(MemoryBudget::Off));
        for wrong in ["", "6", "GiB", "-1GiB", "six GiB", "0MiB", "1.2.3GiB"] {
            assert!(wrong.parse::<MemoryBudget>().unwrap_err().contains("as in 6GiB"), "{wrong}");
        }
        assert_eq!("2".parse(), Ok(AttentionSlicing::Heads(2)));
        assert_eq!("max".parse(), Ok(AttentionSlicing::Max));
        assert!("0".parse::<AttentionSlicing>().is_err() && "some".parse::<AttentionSlicing>().is_err());
        assert_eq!("on".parse(), Ok(VaeTiling::On));
        assert!("yes".parse::<VaeTiling>().is_err());
    }
}
