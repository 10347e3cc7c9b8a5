// @ts-check
/** What a client got, a JSON line for each event: the test reads it from standard output. */

/** The event types of the built-in platform filter. */
export const TYPES = ["metric_updated", "sroi_updated", "vis_updated", "journey_flag_updated"];

/**
 * @param {string} type
 * @param {string} id
 * @param {string} data
 */
export function report(type, id, data) {
  process.stdout.write(`${JSON.stringify({ type, id, n: JSON.parse(data).n })}\n`);
}

/** The address of the stream, from the command line. */
export const address = process.argv[2] ?? "";
