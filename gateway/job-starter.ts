/**
 * Brings jobs of all kinds to life, within what their owner may have: an admin sets for a pool how many jobs one owner may
 * have there, under way or waiting (`jobsPerOwner`), and what is over it is refused when it is submitted. Who decides is
 * the owner's quota (machines/quota.ts), one actor for all gateways; a gateway only asks it.
 */
import type { AdmitEvent, QuotaInput, Verdict } from '../machines/quota.ts'
import { address } from '../runtime/client.ts'
import type { ActorAddress, Answer, AskOptions } from '../runtime/client.ts'
import type { Context } from './api.ts'
import { idOf } from './idempotency.ts'
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

export interface Started {
  /** False of one that was there already, which stays as it is. */
  readonly isNew: boolean
}

export class JobStarter {
  readonly #services: Services

  constructor(services: Services) {
    this.#services = services
  }

  /** Throws `quota.exceeded`. */
  async start(c: Context, { owner, pool, actor, input }: NewJob): Promise<Started> {
    const { client } = this.#services
    const limit = (await this.#services.pool(pool))?.settings.jobsPerOwner ?? null
    const options = { ...traceOf(c.req), signal: c.get('signal'), timeoutMs: LIMITS.askMs }
    const { reply } = await this.#ask(owner, { type: 'admit', job: actor, pool, limit, input }, options)
    const answer = reply as unknown as Verdict // every `admit` is answered with one
    if (answer.verdict === 'refused') {
      const message = `${owner} has ${answer.open} jobs under way or waiting in pool ${pool}, as many as one owner may have: wait for one to end, or cancel one` // prettier-ignore
      throw new GatewayError('quota.exceeded', message, { headers: { 'Retry-After': '10' } })
    }
    // The quota's own message may be on its way yet: with this one the job is there, whichever comes first.
    await client.spawn(actor, { ...input }, options)
    return { isNew: answer.verdict === 'admitted' }
  }

  /** An owner's first job brings their quota to life: both messages go together, in this order. */
  async #ask(owner: string, event: AdmitEvent, options: AskOptions): Promise<Answer> {
    const { client } = this.#services
    const quota = address('quota', await idOf([owner]))
    const [, answer] = await Promise.all([
      client.spawn(quota, { owner } satisfies QuotaInput, options),
      client.ask(quota, event, options),
    ])
    return answer
  }
}
