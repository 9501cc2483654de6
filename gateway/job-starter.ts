/**
 * Brings jobs of all kinds to life, within what their owner may have: an admin sets for a pool how many jobs one owner may
 * have there, under way or waiting (`jobsPerOwner`), and what is over it is refused when it is submitted. Sweeps and batch
 * jobs count as jobs; a sweep's trials do not count beside it.
 *
 * Submissions of one owner wait for each other here, and each is in the read model before the next is counted. Several
 * gateways may each let one through at the same moment: the quota holds back floods, it is no lock.
 */
import type { ActorAddress, Answer } from '../runtime/client.ts'
import type { Context } from './api.ts'
import { LIMITS } from './limits.ts'
import { GatewayError } from './problems.ts'
import type { Services } from './services.ts'
import { traceOf } from './trace.ts'

export interface NewJob {
  readonly actor: ActorAddress
  readonly owner: string
  readonly pool: string
  /** What its chart begins with. */
  readonly input: object
}

export class JobStarter {
  readonly #services: Services
  /** By owner, the submission that the next one waits for. */
  readonly #turns = new Map<string, Promise<unknown>>()

  constructor(services: Services) {
    this.#services = services
  }

  /** One that is there already stays as it is (`handled` is false then). Throws `quota.exceeded`. */
  async start(c: Context, job: NewJob): Promise<Answer> {
    const { owner, pool, actor } = job
    const limit = (await this.#services.pool(pool))?.settings.jobsPerOwner ?? null
    if (limit === null) return this.#spawn(c, job)
    const before = this.#turns.get(owner) ?? Promise.resolve()
    const turn = before.then(async () => {
      if ((await this.#services.client.read(actor)) === null) await this.#checkRoom(owner, pool, limit)
      const answer = await this.#spawn(c, job)
      await this.#services.project(actor)
      return answer
    })
    const settled = turn.catch(() => {}) // who submitted it hears of it
    this.#turns.set(owner, settled)
    void settled.then(() => this.#turns.get(owner) === settled && this.#turns.delete(owner))
    return turn
  }

  #spawn(c: Context, { actor, input }: NewJob): Promise<Answer> {
    const options = { ...traceOf(c.req), signal: c.get('signal'), timeoutMs: LIMITS.askMs }
    return this.#services.client.spawn(actor, { ...input }, options)
  }

  async #checkRoom(owner: string, pool: string, limit: number): Promise<void> {
    if ((await this.#services.openJobs(owner, pool, limit)) < limit) return
    const message = `${owner} has ${limit} jobs under way or waiting in pool ${pool}, as many as one owner may have: wait for one to end, or cancel one` // prettier-ignore
    throw new GatewayError('quota.exceeded', message, { headers: { 'Retry-After': '10' } })
  }
}
