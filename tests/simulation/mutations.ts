/**
 * Mechanisms of the runtime, and how to take each of them out: the simulator must then find a violation, or it proves
 * nothing. The cut is made in the source text while it is loaded, in the worker that runs the mutated simulation: the
 * runtime itself has no switch that anybody could leave open. When the runtime is rewritten so that a cut no longer
 * fits, loading fails and says so.
 */
import { registerHooks } from 'node:module'

export interface Mutation {
  readonly file: string
  readonly find: string
  readonly put: string
}

export const MUTATIONS = {
  'epoch-check': {
    file: 'runtime/transports/memory.ts',
    find: "if (shard.epoch !== commit.epoch) return { ok: false, why: 'fenced', seq: shard.seq }",
    put: '',
  },
  'seq-check': {
    file: 'runtime/transports/memory.ts',
    find: "if (shard.seq !== commit.seq) return { ok: false, why: 'seq', seq: shard.seq }",
    put: '',
  },
  dedupe: {
    file: 'runtime/memory/deliver.ts',
    find: '(incarnation < seen.incarnation || (incarnation === seen.incarnation && seq <= seen.seq))',
    put: 'false',
  },
  'orphan-dedupe': {
    file: 'runtime/memory/deliver.ts',
    find: 'const returned = shard.orphans.has(`${source} ${id}`)',
    put: 'const returned = false',
  },
  'index-move': {
    file: 'runtime/transports/memory.ts',
    find: 'for (const move of commit.moves) moveIn(shard, move, commit.at)',
    put: 'for (const move of commit.moves) if (move.from === null) moveIn(shard, move, commit.at)',
  },
  // What is due before its row says is not taken either; of another generation, that is nearly always so.
  'timer-generation': {
    file: 'runtime/plan.ts',
    find: `row.gen !== timer.gen) {
      this.#collected.clearTimer(timer)
      return
    }
    const isAgain = envelope !== null
    if (timer.due < row.due && !isAgain) return`,
    put: `false) return
    const isAgain = envelope !== null`,
  },
  'effect-restart': {
    file: 'runtime/shard.ts',
    find: 'this.#adoption?.sort(starts, this.#seq) ?? { own: starts, words: this.#local }',
    put: '{ own: [], words: this.#local }',
  },
  'rollback-detection': {
    file: 'runtime/ownership.ts',
    find: 'if (seq >= known || seq >= this.#log.newest) return',
    put: 'return',
  },
  'held-for-newer-code': {
    file: 'runtime/held.ts',
    find: "this.#ahead = { after: '0-0', until: newest }",
    put: 'this.#ahead = null',
  },
  'version-check': {
    file: 'runtime/cell.ts',
    find: "if (record.v > version) throw unknown('')",
    put: 'if (record.v > version) return record.s',
  },
  'order-of-commits': { file: 'runtime/shard.ts', find: '(await former) === false', put: 'false' },
} as const satisfies Record<string, Mutation>

export type MutationName = keyof typeof MUTATIONS

export function isMutation(name: string): name is MutationName {
  return name in MUTATIONS
}

/** From now on, this thread loads the file without the mechanism. */
export function mutate(name: MutationName): void {
  const { file, find, put }: Mutation = MUTATIONS[name]
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context)
      if (!url.endsWith(`/${file}`)) return loaded
      const source = Buffer.from((loaded.source ?? '') as Uint8Array).toString() // a module's source is bytes or text
      if (source.split(find).length !== 2)
        throw new Error(`Cannot take ${name} out of ${file}: "${find}" is not there once`)
      return { ...loaded, source: source.replace(find, () => put) }
    },
  })
}
