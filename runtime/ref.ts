/**
 * Addresses that know their actor. Where the definition is at hand, `ref(order, 'A-17')` is an address with the types of
 * its chart: what is told to it, asked of it or given to it at its birth is checked by the compiler. Where only the
 * address is known, it is a plain one, and takes any event.
 */
import type { ActorDefinition, EventOf, InputOf } from './actor.ts'
import { address } from './address.ts'
import type { ActorAddress } from './address.ts'
import type { Tell } from './vocabulary.ts'

declare const actorBrand: unique symbol

/** The address of an actor of this definition. It is a plain string at run time. */
export type ActorRef<A extends ActorDefinition> = ActorAddress & { readonly [actorBrand]: A }

/** What may be told to an address: the events of its chart, or anything where the chart is not known. */
export type EventFor<To> =
  To extends ActorRef<infer A> ? EventOf<A> & { readonly type: string } : { readonly type: string }

/** What an actor at an address is born with. */
export type InputFor<To> = To extends ActorRef<infer A> ? InputOf<A> : unknown

/** Throws `address.malformed`. */
export function ref<A extends ActorDefinition>(definition: A, id: string): ActorRef<A> {
  return address(definition.kind, id) as ActorRef<A> // the brand is a type alone
}

/** A typed `tell` for a chart: `{ type: 'tell', params: () => telling(ref(order, 'A-17'), { type: 'packed' }) }`. */
export function telling<To extends ActorAddress>(
  to: To,
  event: EventFor<To>,
  options: { readonly control?: boolean } = {},
): Tell {
  return { to, event, ...options }
}
