/** Small pieces of data: states, times, amounts. */
import { useEffect, useState, type ReactNode } from 'react';

import { bytes, duration, exact, relative, trim } from '../format';
import { useWords } from '../i18n';
import type { Accelerator, Phase, Share } from '../types';

const COLOURS: Record<string, string> = {
  queued: 'grey',
  starting: 'blue',
  building: 'blue',
  running: 'green',
  succeeded: 'green',
  ready: 'green',
  stopping: 'blue',
  stopped: 'grey',
  cancelled: 'amber',
  absent: 'grey',
  failed: 'red'
};

/** A coloured dot and a word, never colour alone. */
export function State({ phase, reason, position }: { phase: Phase | string; reason?: string; position?: number | null }): JSX.Element {
  const { t, word } = useWords();
  const moving = phase === 'starting' || phase === 'stopping' || phase === 'building';
  return (
    <span className="lt-state" title={reason || undefined}>
      <span className={`lt-dot lt-dot-${COLOURS[phase] ?? 'grey'} ${moving ? 'lt-dot-moving' : ''}`} aria-hidden="true" />
      <span>
        {word('phase.', phase)}
        {phase === 'queued' && position ? ` · ${t('queue.position', { position })}` : ''}
      </span>
    </span>
  );
}

/** Where there is room for the dot only: the word is read aloud and shown on hover. */
export function StateDot({ phase, reason }: { phase: Phase; reason?: string }): JSX.Element {
  const { word } = useWords();
  const text = [word('phase.', phase), reason].filter(Boolean).join(': ');
  return <span className={`lt-dot lt-dot-${COLOURS[phase] ?? 'grey'} ${isMoving(phase) && phase !== 'queued' ? 'lt-dot-moving' : ''}`} role="img" aria-label={text} title={text} />;
}

export const isFinal = (phase: string): boolean => ['stopped', 'succeeded', 'failed', 'cancelled'].includes(phase);
export const isMoving = (phase: string): boolean => ['queued', 'starting', 'stopping'].includes(phase);

function useNow(every: number): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}

/** "5 min. ago", the exact time on hover. */
export function Age({ at }: { at: string | null | undefined }): JSX.Element {
  const words = useWords();
  const now = useNow(5000);
  if (!at) return <span className="lt-hint">–</span>;
  return (
    <time dateTime={at} title={exact(at, words)}>
      {relative(at, now, words)}
    </time>
  );
}

export function Moment({ at }: { at: string | null | undefined }): JSX.Element {
  const words = useWords();
  return at ? <time dateTime={at}>{exact(at, words)}</time> : <span className="lt-hint">–</span>;
}

/** From start to end, or to now while it goes on. */
export function Took({ from, to, seconds }: { from: string | null; to?: string | null; seconds?: number | null }): JSX.Element {
  const words = useWords();
  const now = useNow(1000);
  if (!from) return <span className="lt-hint">–</span>;
  const known = to ? (seconds ?? (new Date(to).getTime() - new Date(from).getTime()) / 1000) : (now - new Date(from).getTime()) / 1000;
  return <span>{duration(known, words)}</span>;
}

/** Name and value pairs; empty values are left out. */
export function Facts({ facts }: { facts: [string, ReactNode][] }): JSX.Element {
  return (
    <dl className="lt-facts">
      {facts
        .filter(([, value]) => value !== null && value !== undefined && value !== '')
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

/** Used of total as a bar with its numbers. What is used beyond ``guaranteed`` is borrowed: hatched, behind a mark. */
export function Bar(props: { label: string; used: number; total: number | null; guaranteed?: number; text?: string; neutral?: boolean }): JSX.Element {
  const { t } = useWords();
  const partOf = (amount: number): number => (props.total ? Math.min(1, amount / props.total) : 0);
  const width = (amount: number): string => `${partOf(amount) * 100}%`;
  const part = partOf(props.used);
  const own = props.guaranteed ? Math.min(props.used, props.guaranteed) : props.used;
  // Full use of a processor is what it is for; a full quota or memory is a warning.
  const colour = props.neutral ? 'blue' : part >= 1 ? 'red' : part >= 0.9 ? 'amber' : 'blue';
  const text = props.text ?? (props.total === null ? t('quota.noLimit', { used: trim(props.used) }) : `${trim(props.used)} / ${trim(props.total)}`);
  return (
    <div className="lt-bar">
      <div className="lt-bar-text">
        <span>{props.label}</span>
        <span className="lt-number">{text}</span>
      </div>
      <div
        className="lt-bar-track"
        role="meter"
        aria-label={props.label}
        aria-valuemin={0}
        aria-valuemax={props.total ?? undefined}
        aria-valuenow={props.used}
        aria-valuetext={text}
      >
        <div className={`lt-bar-fill lt-fill-${colour}`} style={{ width: width(props.used) }} />
        {own < props.used && <div className="lt-bar-borrowed" style={{ left: width(own), width: `${(part - partOf(own)) * 100}%` }} />}
        {!!props.guaranteed && <div className="lt-bar-mark" style={{ left: width(props.guaranteed) }} />}
      </div>
    </div>
  );
}

export const shareText = (share: Share, unit: 'bytes' | 'plain'): string =>
  unit === 'bytes' ? `${bytes(share.used, share.total)} / ${bytes(share.total)}` : `${trim(share.used)} / ${trim(share.total)}`;

/** One GPU: utilisation, memory, fan, temperature, power; marked when simulated. */
export function AcceleratorCard({ gpu }: { gpu: Accelerator }): JSX.Element {
  const { t } = useWords();
  const facts: [string, string | null][] = [
    [t('gpu.fan'), gpu.fan === null ? null : `${trim(gpu.fan)} %`],
    [t('gpu.temperature'), gpu.temperature === null ? null : `${trim(gpu.temperature)} °C`],
    [t('gpu.power'), gpu.power === null ? null : `${trim(gpu.power)} W`]
  ];
  return (
    <div className="lt-gpu">
      <div className="lt-gpu-name">
        GPU {gpu.index} · {gpu.name} {gpu.simulated && <span className="lt-badge">{t('gpu.simulated')}</span>}
      </div>
      <Bar label={t('gpu.utilisation')} used={gpu.utilisation} total={100} neutral text={`${trim(gpu.utilisation)} %`} />
      <Bar label={t('gpu.memory')} used={gpu.memory_used} total={gpu.memory_total} text={shareText({ used: gpu.memory_used, total: gpu.memory_total }, 'bytes')} />
      <Facts facts={facts} />
    </div>
  );
}
