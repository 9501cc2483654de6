/** A fleet of processes trains on whatever form of Redis its REDIS_URL names, and through the loss of a master. */
import { expect, onTestFinished, test } from 'vitest'
import { resultOf, smallJob } from '../harness/jobs.ts'
import { ProcessFleet } from '../harness/processes.ts'
import { TestCluster } from '../harness/redis-cluster.ts'
import { TestSentinels } from '../harness/redis-sentinel.ts'

const LIMIT_MS = 300_000

test(
  'on a Cluster and by Sentinels, where the master dies, a job has the same weights',
  { timeout: LIMIT_MS },
  async () => {
    const cluster = await TestCluster.start()
    onTestFinished(() => cluster.stop())
    const sentinels = await TestSentinels.start()
    onTestFinished(() => sentinels.stop())
    await using onCluster = await ProcessFleet.start({ env: { REDIS_URL: cluster.url } })
    const first = await onCluster.untilEnded(await onCluster.submit(smallJob))
    expect(first).toMatchObject({ state: 'completed' })

    await using bySentinels = await ProcessFleet.start({ env: { REDIS_URL: sentinels.url } })
    const id = await bySentinels.submit(smallJob)
    await bySentinels.untilRound(id, 2)
    await sentinels.failover()
    expect(resultOf(await bySentinels.untilEnded(id))).toEqual(resultOf(first))
  },
)
