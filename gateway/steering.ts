/** Steering what runs: who may, what is told to its actor, and the answer when it can no longer be steered so. */
import type { ActorAddress } from '../runtime/client.ts'
import { RuntimeError } from '../runtime/errors.ts'
import { principalOf, type Context } from './api.ts'
import { isOver } from './events.ts'
import { mayChange } from './job-access.ts'
import { LIMITS } from './limits.ts'
import { GatewayError, type GatewayErrorCode } from './problems.ts'
import type { Services } from './services.ts'
import { traceOf } from './trace.ts'

interface Steered {
  readonly id: string
  readonly owner: string
  readonly state: string
}

export interface Steering<View extends Steered> {
  /** In sentences: `job`, `sweep`. */
  readonly what: string
  readonly verb: string
  readonly actor: ActorAddress
  readonly event: { readonly type: string }
  readonly refusal: GatewayErrorCode
  /** As it is now. */
  readonly find: () => Promise<View | null>
}

/** Throws `auth.forbidden` where it is not theirs to change. */
export function requireOwner(c: Context, { id, owner }: Steered, what: string, verb: string): void {
  if (mayChange(principalOf(c), { owner })) return
  const name = what.charAt(0).toUpperCase() + what.slice(1)
  throw new GatewayError('auth.forbidden', `${name} ${id} belongs to ${owner}: only they and admins may ${verb} it`)
}

export async function steer<View extends Steered>(
  c: Context,
  { client }: Services,
  before: View,
  { what, verb, actor, event, refusal, find }: Steering<View>,
): Promise<Response> {
  requireOwner(c, before, what, verb)
  const refused = ({ id, state }: Steered): GatewayError =>
    new GatewayError(refusal, `Cannot ${verb} ${what} ${id}: it is ${state}`, { state })
  if (isOver(before)) throw refused(before)
  const options = { ...traceOf(c.req), control: true, signal: c.get('signal'), timeoutMs: LIMITS.askMs }
  const handled = await client.ask(actor, event, options).then(
    (answer) => answer.handled,
    (error: unknown) => {
      if (error instanceof RuntimeError && error.code === 'actor.done') return false // it ended since we looked
      throw error
    },
  )
  const after = (await find()) ?? before
  if (!handled) throw refused(after)
  return c.json(after, 202)
}
