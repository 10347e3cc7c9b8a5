//! The fenced blocks of a document, each with the mark that says how it is kept true.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use tidegate_tests::tools;

/// One fenced block.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// Document and line, for errors.
    pub(super) place: String,
    /// The language, as far as one is named.
    pub(super) language: String,
    /// How it is kept true.
    pub(super) mark: Mark,
    /// What stands in it.
    pub(super) text: String,
}

/// How a block is kept true. In a document it stands after the language: ```` ```sh run=tour ````.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    /// `run=GROUP`: run by bash until it ends well. With `until` it is run again until what it prints is the output.
    Run { group: String, until: bool },
    /// `start=GROUP`: run by bash until its group ends. `name=NAME` lets a later output speak of it.
    Start { group: String, name: Option<String> },
    /// `output` or `output=NAME`: what the block before, or the started one of that name, prints.
    Output(Option<String>),
    /// `file=GROUP/PATH`: written into the group's folder.
    File { group: String, path: String },
    /// `parse`: read by whatever reads such text.
    Parse,
    /// `part-of=PATH`: its lines stand in this order in a file that other tests run.
    PartOf(String),
    /// `shown=REASON`: for the eye alone, and why.
    Shown(String),
    /// No mark.
    Missing,
}

/// The blocks of a document of the repository.
pub(super) fn of(document: &str) -> Result<Vec<Block>> {
    let text = fs::read_to_string(tools::root().join(document)).with_context(|| format!("read {document}"))?;
    parse(document, &text)
}

fn parse(document: &str, text: &str) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                let place = format!("{document}:{}", number + 1);
                let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
                let mark = mark(rest.trim()).with_context(|| place.clone())?;
                open = Some(Block { place, language: language.to_owned(), mark, text: String::new() });
            }
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    match open {
        Some(block) => bail!("{}: the block has no end", block.place),
        None => Ok(blocks),
    }
}

fn mark(text: &str) -> Result<Mark> {
    if let Some(reason) = text.strip_prefix("shown=") {
        ensure!(reason.len() > 10, "a reason is missing");
        return Ok(Mark::Shown(reason.to_owned()));
    }
    let words: Vec<(&str, &str)> =
        text.split_whitespace().map(|word| word.split_once('=').unwrap_or((word, ""))).collect();
    let name = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    Ok(match words.as_slice() {
        [] => Mark::Missing,
        [("run", group)] => Mark::Run { group: (*group).to_owned(), until: false },
        [("run", group), ("until", "")] => Mark::Run { group: (*group).to_owned(), until: true },
        [("start", group)] => Mark::Start { group: (*group).to_owned(), name: None },
        [("start", group), ("name", value)] => Mark::Start { group: (*group).to_owned(), name: name(value) },
        [("output", value)] => Mark::Output(name(value)),
        [("file", place)] => {
            let (group, path) = place.split_once('/').context("file=GROUP/PATH")?;
            Mark::File { group: group.to_owned(), path: path.to_owned() }
        }
        [("parse", "")] => Mark::Parse,
        [("part-of", path)] => Mark::PartOf((*path).to_owned()),
        _ => bail!("no such mark: {text}"),
    })
}

/// The rows of the first table after a heading, each with its cells; head and rule are left out.
pub(super) fn table(document: &str, heading: &str) -> Result<Vec<Vec<String>>> {
    let text = fs::read_to_string(tools::root().join(document)).with_context(|| format!("read {document}"))?;
    let rows = text
        .lines()
        .skip_while(|line| *line != heading)
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        // A bar inside of a cell is written `\|`.
        .map(|line| {
            let line = line.trim().trim_matches('|').replace("\\|", "\u{1}");
            line.split('|').map(|cell| cell.replace('\u{1}', "|").trim().to_owned()).collect()
        })
        .collect::<Vec<Vec<String>>>();
    ensure!(!rows.is_empty(), "{document}: no table after {heading:?}");
    Ok(rows)
}

/// The words of a cell that stand in backquotes.
pub(super) fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn blocks_carry_their_marks() {
    let text = "a\n```sh run=x until\nls\n```\n```text output=y\n…\n```\n```\nz\n```\n";
    let blocks = parse("d.md", text).expect("blocks");
    let marks: Vec<&Mark> = blocks.iter().map(|block| &block.mark).collect();
    let run = Mark::Run { group: "x".to_owned(), until: true };
    assert_eq!(marks, [&run, &Mark::Output(Some("y".to_owned())), &Mark::Missing]);
    assert!(parse("d.md", "```sh fast\n```\n").is_err() && parse("d.md", "```sh\n").is_err());
    assert_eq!((blocks[0].place.as_str(), blocks[0].text.as_str()), ("d.md:2", "ls\n"));
}
