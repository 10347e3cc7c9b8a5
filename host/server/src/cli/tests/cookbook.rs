//! The settings in the cookbook for filters: the host reads them, and the filters are tested with just those.

use crate::modules::file::Settings;

const COOKBOOK: &str = include_str!("../../../../../guest-sdk/COOKBOOK.md");

#[test]
fn settings_in_the_cookbook_are_read_and_are_what_its_filters_are_tested_with() {
    let mut read = 0;
    for recipe in COOKBOOK.split("\n## ") {
        let tested: Vec<serde_json::Value> = recipe
            .split("r#\"")
            .skip(1)
            .filter_map(|rest| serde_json::from_str(rest.split("\"#").next()?).ok())
            .collect();
        for text in recipe.split("\n```toml\n").skip(1).filter_map(|rest| rest.split("\n```").next()) {
            let settings: Settings = toml::from_str(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
            let config = serde_json::to_value(&settings.config).expect("JSON");
            assert!(settings.config.is_empty() || tested.contains(&config), "no test has this configuration:\n{text}");
            read += 1;
        }
    }
    assert_eq!(read, 5);
}
