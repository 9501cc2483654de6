/** What people are shown of a batch job, from its snapshot. */
import type { BatchContext } from '../machines/batch.ts'
import { rowsOf } from '../machines/batch-plan.ts'
import type { BatchState, BatchView } from '../machines/batch-spec.ts'
import type { ActorSnapshot } from '../runtime/mod.ts'
import { errorOf, lifeOf, workersOf } from './view-parts.ts'

export function batchView(snapshot: ActorSnapshot): BatchView {
  const context = snapshot.context as unknown as BatchContext // a snapshot of the kind `batch`, at its version
  const { id, owner, spec, plan, results, result, mode, fault } = context
  const done = results.flatMap((sha256, chunk) => (sha256 === null ? [] : [chunk]))
  return {
    id,
    kind: spec.kind,
    name: spec.name,
    state: snapshot.value as BatchState, // the chart has no nested states
    owner,
    spec,
    ...lifeOf(snapshot),
    progress: {
      rows: plan === null ? 0 : done.reduce((sum, chunk) => sum + rowsOf(plan, chunk), 0),
      rowsTotal: plan?.rows ?? 0,
      chunks: done.length,
      chunksTotal: plan?.chunks ?? 0,
    },
    ...(plan?.dataset !== undefined && { dataset: plan.dataset }),
    ...(mode !== null && { mode }),
    ...result,
    workers: workersOf(context.workers),
    ...errorOf(fault),
  }
}
