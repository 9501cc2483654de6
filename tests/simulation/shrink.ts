/**
 * Makes a failing run small: runs it again with less, and keeps what still fails in the same way. Faults and operations
 * are taken out by delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002).
 */
import type { Reduction } from './scenario.ts'
import type { RunResult } from './simulator.ts'

/** So many runs at most: a smaller scenario is a help, not a proof. */
const RUNS_MAX = 400

export interface Shrunk {
  readonly reduction: Reduction
  readonly result: RunResult
  readonly runs: number
}

export async function shrink(
  failure: RunResult,
  operations: number,
  nodes: number,
  run: (reduction: Reduction) => Promise<RunResult>,
): Promise<Shrunk> {
  const kind = kindOf(failure)
  let best: Reduction = {}
  let result = failure
  let runs = 0
  const stillFails = async (reduction: Reduction): Promise<boolean> => {
    if (runs >= RUNS_MAX) return false
    runs++
    const tried = await run(reduction)
    if (kindOf(tried) !== kind) return false
    best = reduction
    result = tried
    return true
  }
  await stillFails({ only: failure.faults })
  for (let count = 1; count < nodes; count++) if (await stillFails({ ...best, nodes: count })) break
  const all = Array.from({ length: operations }, (_, i) => i)
  await minimize(all, (kept) => stillFails({ ...best, operations: kept }))
  await minimize(best.only ?? [], (kept) => stillFails({ ...best, only: kept }))
  return { reduction: best, result, runs }
}

/** Takes out ever smaller parts, as long as what remains still fails. */
async function minimize<T>(items: readonly T[], fails: (kept: readonly T[]) => Promise<boolean>): Promise<void> {
  let kept = items
  let parts = 1
  while (kept.length > 0) {
    const size = Math.ceil(kept.length / parts)
    let smaller = false
    for (let start = 0; start < kept.length; start += size) {
      const rest = [...kept.slice(0, start), ...kept.slice(start + size)]
      if (!(await fails(rest))) continue
      kept = rest
      smaller = true
      break
    }
    if (smaller) parts = Math.max(1, parts - 1)
    else if (size === 1) return
    else parts = Math.min(kept.length, parts * 2)
  }
}

/** The rule that was broken: a scenario must not shrink from one failure into another. */
function kindOf({ violations }: RunResult): string {
  return violations[0]?.split(/[:\d]/)[0] ?? ''
}

/** One command that runs the failure again. */
export function replayCommand(seed: number, { nodes, operations, only }: Reduction, mutation: string | null): string {
  const words = ['npm run sim --', `--seed ${seed}`]
  if (mutation !== null) words.push(`--mutation ${mutation}`)
  if (nodes !== undefined) words.push(`--nodes ${nodes}`)
  if (operations !== undefined) words.push(`--operations '${operations.join(',')}'`)
  if (only !== undefined) words.push(`--only '${only.join(',')}'`)
  return words.join(' ')
}
