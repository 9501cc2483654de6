/** One violation of each house rule, and the sound files around them, as texts: see house.test.ts. */

export interface Violation {
  /** The rule's name, as the checker reports it. */
  readonly rule: string
  /** What is done here that the rule forbids. */
  readonly breaks: string
  readonly file: string
  readonly text: string
  /** What else must be there for the rule to be broken. */
  readonly beside?: Readonly<Record<string, string>>
}

/** A small house in which everything is as it should be. */
export const sound: Readonly<Record<string, string>> = {
  'machines/job.ts': `import { thing } from 'xstate'\nexport const job = thing\n`,
  'runtime/mod.ts': `export { client } from './client.ts'\n`,
  'runtime/client.ts': `import { redis } from './transports/redis.ts'\nexport const client = redis\n`,
  'runtime/errors.ts': `export const problem = 1\n`,
  'runtime/events.ts': `export interface Committed {\n  readonly shard: number\n}\n`,
  'runtime/shard.ts': `export const shard = 1\n`,
  'runtime/trace.ts': `import { thing } from '@opentelemetry/api'\nexport const trace = thing\n`,
  'runtime/redis/connection.ts': `import { setTimeout as sleep } from 'node:timers/promises'
import { thing } from 'ioredis'
export const connection = [thing, sleep]
`,
  'runtime/transports/redis.ts': `import { connection } from '../redis/connection.ts'\nexport const redis = connection\n`,
  'kernels/mod.ts': `export { step } from './step.ts'\nexport type { Step } from './step.ts'\n`,
  'kernels/step.ts': `export const step = 1\nexport interface Step {\n  readonly loss: number\n}\n`,
  'stores/mod.ts': `export { blobs } from './blobs.ts'\nexport type { Blobs } from './blobs.ts'\n`,
  'stores/blobs.ts': `import { readFile } from 'node:fs/promises'
export const blobs = readFile
export interface Blobs {
  readonly root: string
}
`,
  'actors/job.ts': `import { job } from '../machines/job.ts'
import { client } from '../runtime/mod.ts'
import type { Blobs } from '../stores/mod.ts'
import type { Step } from '../kernels/mod.ts'
export const jobActor = (blobs: Blobs, step: Step): unknown => [job, client, blobs, step]
`,
  'gateway/app.ts': `import { thing } from 'hono'
import { client } from '../runtime/client.ts'
import { problem } from '../runtime/errors.ts'
import type { Blobs } from '../stores/mod.ts'
export const app = (blobs: Blobs): unknown => [thing, client, problem, blobs]
`,
  'otel/metrics.ts': `import type { Committed } from '../runtime/events.ts'
export const count = (event: Committed): number => event.shard
`,
  'dashboards/console/page.ts': `export const page = 1\n`,
  'cli/up.ts': `import { jobActor } from '../actors/job.ts'
import { app } from '../gateway/app.ts'
import { step } from '../kernels/mod.ts'
import { blobs } from '../stores/mod.ts'
export const up = [jobActor, app, step, blobs]
`,
  'tests/waiting.test.ts': `import { expect, test } from 'vitest'
test('one is one', () => {
  expect(1).toBe(1)
})
`,
}

/** A file which imports what it may not, and uses it as a value. */
function importing(rule: string, file: string, target: string, breaks?: string): Violation {
  const what = `import { thing } from '${target}'\nexport const used = thing\n`
  return { rule, file, breaks: breaks ?? `${file} imports ${target}`, text: what }
}

function importingName(rule: string, file: string, name: string, target: string): Violation {
  const text = `import { ${name} } from '${target}'\nexport const used = ${name}\n`
  return { rule, file, breaks: `${file} imports ${target}`, text }
}

function importingType(rule: string, file: string, name: string, target: string): Violation {
  const text = `import type { ${name} } from '${target}'\nexport type Used = ${name}\n`
  return { rule, file, breaks: `${file} imports a type of ${target}`, text }
}

export const importViolations: readonly Violation[] = [
  importingName('machines-folders', 'machines/upward.ts', 'client', '../runtime/mod.ts'),
  importing('machines-packages', 'machines/telemetry.ts', '@opentelemetry/api'),
  importingName('machines-are-pure', 'machines/clock.ts', 'performance', 'node:perf_hooks'),
  importingName('runtime-folders', 'runtime/knows-jobs.ts', 'job', '../machines/job.ts'),
  importing('runtime-packages', 'runtime/http.ts', 'hono'),
  importing('ioredis-in-one-file', 'runtime/lease.ts', 'ioredis'),
  importing('opentelemetry-in-one-file', 'runtime/spans.ts', '@opentelemetry/api'),
  importingName('kernels-folders', 'kernels/knows-actors.ts', 'jobActor', '../actors/job.ts'),
  importingType('stores-folders', 'stores/knows-kernels.ts', 'Step', '../kernels/mod.ts'),
  importingName('actors-folders', 'actors/inside-runtime.ts', 'shard', '../runtime/shard.ts'),
  importingName('actors-types-of-stores', 'actors/writes-blobs.ts', 'blobs', '../stores/mod.ts'),
  importingName('actors-types-of-kernels', 'actors/computes.ts', 'step', '../kernels/mod.ts'),
  importing('actors-packages', 'actors/redis.ts', 'ioredis'),
  importingName('gateway-folders', 'gateway/inside-runtime.ts', 'shard', '../runtime/shard.ts'),
  importingName('gateway-types-of-stores', 'gateway/opens-stores.ts', 'blobs', '../stores/mod.ts'),
  importingName('gateway-types-of-machines', 'gateway/runs-charts.ts', 'job', '../machines/job.ts'),
  importingName('otel-folders', 'otel/knows-actors.ts', 'jobActor', '../actors/job.ts'),
  importingName('otel-types-of-runtime', 'otel/drives-runtime.ts', 'client', '../runtime/client.ts'),
  importingName('dashboards-folders', 'dashboards/console/inside.ts', 'client', '../../runtime/client.ts'),
  importingName('by-the-front-door', 'cli/side-door.ts', 'blobs', '../stores/blobs.ts'),
  importing('no-unresolved', 'cli/nowhere.ts', './not-there.ts'),
  // Two rules stand against what imports the top: the folder's own row, and the one for folders without a row.
  importingName('only-the-top-is-imported-by-nobody', 'otel/knows-cli.ts', 'up', '../cli/up.ts'),
  importingName('otel-folders', 'otel/knows-cli.ts', 'up', '../cli/up.ts'),
  {
    rule: 'no-cycles',
    breaks: 'two files import each other',
    file: 'kernels/chicken.ts',
    text: `import { egg } from './egg.ts'\nexport const chicken = (): unknown => egg\n`,
    beside: { 'kernels/egg.ts': `import { chicken } from './chicken.ts'\nexport const egg = (): unknown => chicken\n` },
  },
]

export const lintViolations: readonly Violation[] = [
  {
    rule: 'typescript(no-explicit-any)',
    breaks: 'any',
    file: 'stores/any.ts',
    text: `export const parse = (value: any): unknown => value\n`,
  },
  {
    rule: 'typescript(no-floating-promises)',
    breaks: 'a promise that nobody awaits',
    file: 'stores/floating.ts',
    text: `const write = async (): Promise<void> => {}\nexport const save = (): void => {\n  write()\n}\n`,
  },
  {
    rule: 'typescript(no-misused-promises)',
    breaks: 'a promise taken for a truth value',
    file: 'stores/misused.ts',
    text: `const has = async (): Promise<boolean> => false\nexport const size = (): number => (has() ? 1 : 0)\n`,
  },
  {
    rule: 'import(no-default-export)',
    breaks: 'a default export',
    file: 'stores/default.ts',
    text: `export default 1\n`,
  },
  {
    rule: 'typescript(no-namespace)',
    breaks: 'a namespace',
    file: 'stores/namespace.ts',
    text: `export namespace Store {\n  export type Name = string\n}\n`,
  },
  {
    rule: 'typescript(consistent-type-imports)',
    breaks: 'a type imported as a value',
    file: 'cli/type-as-value.ts',
    text: `import { Blobs } from '../stores/mod.ts'\nexport type Used = Blobs\n`,
  },
  {
    rule: 'eslint(no-restricted-globals)',
    breaks: 'a test that waits on time',
    file: 'tests/sleeping.test.ts',
    text: `import { expect, test } from 'vitest'
test('time passes', async () => {
  expect(await new Promise((resolve) => setTimeout(resolve, 10))).toBeUndefined()
})
`,
  },
  {
    rule: 'eslint(no-restricted-imports)',
    breaks: 'a test that imports a timer',
    file: 'tests/timer.test.ts',
    text: `import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
test('time passes', async () => {
  expect(await sleep(10)).toBeUndefined()
})
`,
  },
]
