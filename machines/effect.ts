/**
 * An effect as a chart sees it: a name with an input and an output. What it does is bound in actors/, by
 * `defineActor({ effects })`; a chart that is run without the runtime has nothing to run, and says so.
 */
import { fromPromise } from 'xstate'
import type { PromiseActorLogic } from 'xstate'

export function effect<Input, Output>(): PromiseActorLogic<Output, Input> {
  return fromPromise<Output, Input>(() =>
    Promise.reject(new Error('This chart ran without its effects: the runtime runs them, after the commit')),
  )
}
