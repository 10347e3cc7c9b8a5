// Lines for the host's log, bounded in rate.
import { write } from "tidegate:filter/log@2.0.0";

export const debug = (line) => write("debug", String(line));
export const info = (line) => write("info", String(line));
export const warn = (line) => write("warn", String(line));
export const error = (line) => write("error", String(line));
