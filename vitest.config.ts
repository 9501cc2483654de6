import { defineConfig } from 'vitest/config'

/** Real processes and a real Redis take seconds, not milliseconds: the limits here are for hangs, not for speed. */
export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    globalSetup: ['tests/harness/parts.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    fileParallelism: true,
    maxWorkers: 2,
    pool: 'forks',
  },
})
