/**
 * One actor as seen by a client that has its definition: with the events and the input of its chart, so that a wrong one
 * does not compile. A client itself takes any event, since a gateway passes on what it does not know.
 */
import type { ActorDefinition, EventOf, InputOf } from './actor.ts'
import { address } from './address.ts'
import type { ActorAddress } from './address.ts'
import type { ActorSnapshot, Answer, AskOptions, Client, SendOptions } from './client.ts'

export interface ActorHandle<A extends ActorDefinition> {
  readonly address: ActorAddress
  tell(event: EventOf<A>, options?: SendOptions): Promise<void>
  ask(event: EventOf<A>, options?: AskOptions): Promise<Answer>
  spawn(input: InputOf<A>, options?: AskOptions): Promise<Answer>
  read(): Promise<ActorSnapshot | null>
}

export function actorOf<A extends ActorDefinition>(client: Client, definition: A, id: string): ActorHandle<A> {
  const to = address(definition.kind, id)
  return {
    address: to,
    tell: (event, options) => client.tell(to, event as { type: string }, options), // EventOf is an event of a chart
    ask: (event, options) => client.ask(to, event as { type: string }, options), // likewise
    spawn: (input, options) => client.spawn(to, input, options),
    read: () => client.read(to),
  }
}
