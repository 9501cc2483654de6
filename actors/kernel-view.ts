/** What people are shown of a kernel job, from its snapshot. */
import { chunkCount } from '../machines/kernel-job.ts'
import type { KernelJobContext } from '../machines/kernel-job.ts'
import type { KernelJobState, KernelJobView } from '../machines/kernel-spec.ts'
import { idOf } from '../runtime/mod.ts'
import type { ActorAddress, ActorSnapshot } from '../runtime/mod.ts'

export function kernelJobView(snapshot: ActorSnapshot): KernelJobView {
  const context = snapshot.context as unknown as KernelJobContext // a snapshot of the kind `kernel`, at its version
  const { id, owner, spec, plan, results, output, fault } = context
  const done = results.filter((result) => result !== null)
  return {
    id,
    kind: 'kernel',
    name: spec.name,
    state: snapshot.value as KernelJobState, // the chart has no nested states
    owner,
    spec,
    createdAt: snapshot.createdAt,
    changedAt: snapshot.changedAt,
    ...(snapshot.status !== 'active' && { endedAt: snapshot.changedAt }),
    seq: snapshot.seq,
    progress: {
      rows: done.reduce((sum, { rows }) => sum + rows, 0),
      rowsTotal: plan?.shape[0] ?? 0,
      chunks: done.length,
      chunksTotal: chunkCount(context),
    },
    ...(done[0] !== undefined && { mode: done[0].mode }),
    ...(output !== null && { output }),
    workers: Object.fromEntries(
      Object.entries(context.workers).map(([worker, chunks]) => [idOf(worker as ActorAddress), chunks]), // told by the worker itself
    ),
    ...(fault !== null && { error: { code: fault.code, message: fault.message, remedy: fault.remedy } }),
  }
}
