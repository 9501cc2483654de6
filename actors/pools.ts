/**
 * The pools of the fleet: one for each scheduler that there is. `default` comes to life with the control process, any
 * other one with the first worker that joins it; none ever goes.
 */
import type { Problem } from '../kernels/mod.ts'
import { address } from '../runtime/mod.ts'
import type { Client } from '../runtime/mod.ts'
import { problem } from './problem.ts'

export interface PoolNames {
  has(pool: string): Promise<boolean>
  names(): Promise<readonly string[]>
}

export class Pools implements PoolNames {
  readonly #client: Pick<Client, 'find' | 'read' | 'spawn'>
  readonly #known = new Set<string>()

  constructor(client: Pick<Client, 'find' | 'read' | 'spawn'>) {
    this.#client = client
  }

  /** Where it is there already, nothing changes. */
  async open(
    pool: string,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    await this.#client.spawn(address('scheduler', pool), { pool }, options)
    this.#known.add(pool)
  }

  async has(pool: string): Promise<boolean> {
    if (this.#known.has(pool)) return true
    if ((await this.#client.read(address('scheduler', pool))) === null) return false
    this.#known.add(pool)
    return true
  }

  async names(): Promise<readonly string[]> {
    const names: string[] = []
    for (let after: string | undefined; ;) {
      const page = await this.#client.find({ kind: 'scheduler', ...(after !== undefined && { after }) })
      names.push(...page.items.map(({ actor }) => actor.slice(actor.indexOf('/') + 1)))
      if (page.next === undefined) return names.toSorted()
      after = page.next
    }
  }
}

export async function checkPool(pools: PoolNames, pool: string): Promise<readonly Problem[]> {
  if (await pools.has(pool)) return []
  return [problem('pool', `one of ${(await pools.names()).join(', ')}`, pool)]
}
