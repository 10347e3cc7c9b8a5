import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

export default defineConfig({
  // Relative addresses: the build can be served from any path.
  base: "./",
  plugins: [react()],
  test: { environment: "jsdom" },
});
