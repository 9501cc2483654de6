/**
 * The simulator at the command line. `npm run sim -- --seeds 10000` runs that many seeds and ends with one line of JSON;
 * `npm run sim -- --seed 17` runs one and prints what happened in it. `--first` says where to begin, `--mutation` takes
 * a mechanism out of the runtime, and `--nodes`, `--operations`, `--only` are what a shrunk scenario is repeated with.
 */
import process from 'node:process'
import { parseArgs } from 'node:util'
import { COMMAND_FAULTS } from './faults.ts'
import { isMutation } from './mutations.ts'
import type { MutationName } from './mutations.ts'
import { Pool } from './pool.ts'
import type { Summary } from './pool.ts'
import { scenarioOf } from './scenario.ts'
import type { Reduction } from './scenario.ts'
import { replayCommand, shrink } from './shrink.ts'
import type { RunResult } from './simulator.ts'

const SHRUNK_MAX = 3

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '2000' },
    first: { type: 'string', default: '1' },
    seed: { type: 'string' },
    nodes: { type: 'string' },
    operations: { type: 'string' },
    only: { type: 'string' },
    mutation: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})

const mutation = mutationOf(values.mutation)
await using pool = new Pool({ mutation })
const summary = values.seed === undefined ? await many() : await one(Number(values.seed))
say(`${summary.seeds} seeds, ${summary.faults} faults, ${summary.violations} violations`)
for (const line of tableOf(summary.seen)) say(line)
const hours = Math.round((summary.virtualMs / 3_600_000) * 100) / 100
const { seeds, faults, violations } = summary
process.stdout.write(`${JSON.stringify({ seeds, faults, violations, virtual_hours: hours })}\n`)
process.exitCode = violations > 0 ? 1 : 0

async function many(): Promise<Summary> {
  const count = Number(values.seeds)
  let told = 0
  const result = await pool.runAll(Number(values.first), count, ({ seeds: done, faults: hit, violations: bad }) => {
    if (done - told >= Math.max(100, count / 10)) {
      told = done
      say(`${done} of ${count} seeds, ${hit} faults, ${bad} violations`)
    }
    return false
  })
  for (const failure of result.failures) tell(failure, {})
  for (const failure of result.failures.slice(0, SHRUNK_MAX)) await makeSmall(failure)
  return result
}

async function one(seed: number): Promise<Summary> {
  const list = (text: string | undefined) =>
    text === undefined ? undefined : text.split(',').filter((each) => each !== '')
  const only = list(values.only)
  const operations = list(values.operations)?.map(Number)
  const reduction: Reduction = {
    ...(values.nodes !== undefined && { nodes: Number(values.nodes) }),
    ...(operations !== undefined && { operations }),
    ...(only !== undefined && { only }),
  }
  const result = await pool.run(seed, reduction, true)
  if (!values.json) for (const line of result.trace) say(line)
  if (result.violations.length > 0) tell(result, reduction)
  const failures = result.violations.length > 0 ? [result] : []
  const { faults: hit, seen, virtualMs } = result
  return { seeds: 1, faults: hit.length, violations: failures.length, seen, virtualMs, failures }
}

function tell({ seed, violations: found }: RunResult, reduction: Reduction): void {
  say(`seed ${seed}:`)
  for (const text of found.slice(0, 5)) say(`  ${text}`)
  say(`  again: ${replayCommand(seed, reduction, mutation)}`)
}

async function makeSmall(failure: RunResult): Promise<void> {
  const { operations, nodes } = scenarioOf(failure.seed)
  const small = await shrink(failure, operations.length, nodes, (reduction) => pool.run(failure.seed, reduction))
  const { only = failure.faults, operations: kept = operations } = small.reduction
  say(`seed ${failure.seed}, made small in ${small.runs} runs: ${kept.length} operations, ${only.length} faults`)
  tell(small.result, small.reduction)
}

/** What happened, by kind: faults of commands in one table, everything else in one line. */
function tableOf(seen: Summary['seen']): string[] {
  const kinds = [...new Set(COMMAND_FAULTS)]
  const hits = Object.entries(seen).filter(([what]) => what.startsWith('fault '))
  const commands = [
    ...new Set(hits.map(([what]) => what.split(' ')).flatMap(([, a, b]) => (b === undefined ? [] : [a]))),
  ]
  const row = (name: string, cells: readonly (string | number)[]) =>
    `${name.padEnd(12)}${cells.map((cell) => String(cell).padStart(12)).join('')}`
  const rest = Object.entries(seen)
    .filter(([what]) => !what.startsWith('fault ') || what.split(' ').length === 2)
    .map(([what, count]) => `${what.replace('fault ', '')} ${count}`)
  return [
    row('', kinds),
    ...commands.map((command = '') =>
      row(
        command,
        kinds.map((kind) => seen[`fault ${command} ${kind}`] ?? 0),
      ),
    ),
    rest.toSorted().join(', '),
  ]
}

/** What people read goes to the error stream when a program reads the other. */
function say(text: string): void {
  ;(values.json ? process.stderr : process.stdout).write(`${text}\n`)
}

function mutationOf(name: string | undefined): MutationName | null {
  if (name === undefined) return null
  if (isMutation(name)) return name
  throw new Error(`There is no mutation "${name}"`)
}
