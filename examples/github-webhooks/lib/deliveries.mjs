// @ts-check
/** What is published, in which order, and what of it again. */

/** @typedef {{ subject: string, line: string }} Message */

/** The events whose payloads GitHub delivers twice in this example: some for each company with a filter of its own. */
const AGAIN = ["discussion", "discussion_comment", "pull_request_review", "workflow_job"].map(subjectOf);

/**
 * Every payload once.
 * @param {import("./payloads.mjs").Group[]} groups
 * @returns {Message[]}
 */
export function first(groups) {
  const messages = groups.flatMap(({ event, lines }) => lines.map((line) => ({ subject: subjectOf(event), line })));
  // The package sorts by event, but a pull request is opened, reviewed and closed: its payloads tell when they happened.
  const lives = messages.filter(ofPullRequest).map((message) => ({ message, at: JSON.parse(message.line).pull_request.updated_at }));
  lives.sort((a, b) => (a.at < b.at ? -1 : Number(a.at > b.at)));
  return [...messages.filter((message) => !ofPullRequest(message)), ...lives.map(({ message }) => message)];
}

/**
 * The redeliveries: the very same payloads.
 * @param {Message[]} messages
 */
export function again(messages) {
  return messages.filter(({ subject }) => AGAIN.includes(subject));
}

/**
 * Messages in the order given, those of one subject that follow each other together.
 * @param {Message[]} messages
 */
export function runs(messages) {
  /** @type {{ subject: string, lines: string[] }[]} */
  const found = [];
  for (const { subject, line } of messages) {
    const last = found[found.length - 1];
    if (last?.subject === subject) last.lines.push(line);
    else found.push({ subject, lines: [line] });
  }
  return found;
}

/** @param {string} event */
function subjectOf(event) {
  return `github.${event}`;
}

/** @param {Message} message */
function ofPullRequest({ subject }) {
  return subject.startsWith("github.pull_request");
}
