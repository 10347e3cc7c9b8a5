#![doc = include_str!("../../COOKBOOK.md")]
