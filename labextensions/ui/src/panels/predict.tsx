/** Try an endpoint: a picture, a CSV or JSON in, the prediction drawn. */
import { useEffect, useState } from 'react';

import { useChange } from '../context';
import { metric } from '../format';
import { useWords } from '../i18n';
import { Button } from '../parts/buttons';
import { AreaField } from '../parts/form';
import { ErrorBox } from '../parts/states';
import { SmallTable } from '../parts/table';
import type { Endpoint, Prediction } from '../types';

export function TryIt({ endpoint }: { endpoint: Endpoint }): JSX.Element {
  const { t } = useWords();
  const [file, setFile] = useState<File | null>(null);
  const [json, setJson] = useState('');
  const [over, setOver] = useState(false);
  const path = `endpoints/${endpoint.id}/predict`;
  const predict = useChange((client, input: File | string) =>
    input instanceof File ? client.upload<Prediction>('serving', path, input) : client.send<Prediction>('POST', 'serving', path, JSON.parse(input))
  );
  const choose = (chosen: File | null | undefined): void => {
    if (!chosen) return;
    setFile(chosen);
    predict.mutate(chosen);
  };
  const jsonProblem = problemOfJson(json);
  const running = endpoint.phase === 'running';
  return (
    <div className="lt-columns">
      <div className="lt-form">
        {!running && <p className="lt-hint">{t('try.notRunning')}</p>}
        <label
          className={`lt-drop ${over ? 'lt-drop-over' : ''}`}
          onDragOver={event => {
            event.preventDefault();
            setOver(true);
          }}
          onDragLeave={() => setOver(false)}
          onDrop={event => {
            event.preventDefault();
            setOver(false);
            if (running) choose(event.dataTransfer.files[0]);
          }}
        >
          <input type="file" accept=".png,.jpg,.jpeg,.csv,.json" disabled={!running} onChange={event => choose(event.target.files?.[0])} />
          {file ? <Preview file={file} /> : <span>{t('try.drop')}</span>}
          {file && <span className="lt-hint">{file.name}</span>}
        </label>
        <details className="lt-more">
          <summary>{t('try.orJson')}</summary>
          <div className="lt-form-fields">
            <AreaField label={t('try.json')} value={json} onChange={setJson} rows={6} mono placeholder='[[5.1, 3.5, 1.4, 0.2]]' problem={json && jsonProblem ? t('try.badJson', { problem: jsonProblem }) : null} />
            <Button disabled={!running || !json || !!jsonProblem} busy={predict.isPending} onClick={() => predict.mutate(json)}>
              {t('try.send')}
            </Button>
          </div>
        </details>
        {file && (
          <Button disabled={!running} busy={predict.isPending} onClick={() => predict.mutate(file)}>
            {t('try.again')}
          </Button>
        )}
      </div>
      <div aria-live="polite" className="lt-result">
        {predict.error ? <ErrorBox error={predict.error} onRetry={file ? () => predict.mutate(file) : undefined} /> : null}
        {predict.data && !predict.error ? <Result answer={predict.data} /> : null}
        {!predict.data && !predict.error && !predict.isPending && <p className="lt-hint">{t('try.nothing')}</p>}
      </div>
    </div>
  );
}

function problemOfJson(text: string): string | null {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

function Preview({ file }: { file: File }): JSX.Element | null {
  const [url, setUrl] = useState('');
  useEffect(() => {
    if (!file.type.startsWith('image/')) return setUrl('');
    const made = URL.createObjectURL(file);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [file]);
  return url ? <img src={url} alt={file.name} className="lt-preview" /> : null;
}

function Result({ answer }: { answer: Prediction }): JSX.Element {
  const { t } = useWords();
  const rows = answerRows(answer);
  const many = rows.length > 1;
  const bars = many ? null : classBars(answer);
  const value = many ? null : plainValue(answer);
  return (
    <>
      {bars && (
        <>
          <p className="lt-big" data-testid="prediction">
            {value ?? bars[0].label}
          </p>
          <ol className="lt-class-bars">
            {bars.slice(0, 20).map(bar => (
              <li key={bar.label}>
                <span className="lt-class-label">{bar.label}</span>
                <span className="lt-bar-track">
                  <span className="lt-bar-fill lt-fill-blue" style={{ width: `${Math.max(0, Math.min(1, bar.value)) * 100}%` }} />
                </span>
                <span className="lt-number">{(bar.value * 100).toFixed(1)} %</span>
              </li>
            ))}
          </ol>
        </>
      )}
      {!bars && value !== null && (
        <p className="lt-big" data-testid="prediction">
          {value}
        </p>
      )}
      {many && (
        <SmallTable
          label={t('try.rows')}
          rows={rows.slice(0, 100)}
          keyOf={row => String(row.row)}
          columns={[
            { id: 'row', title: t('try.row'), cell: row => row.row, right: true },
            { id: 'value', title: t('try.prediction'), cell: row => row.value, grow: true },
            ...(answer.probabilities ? [{ id: 'likely', title: t('try.probability'), cell: (row: AnswerRow) => row.likely, right: true }] : [])
          ]}
        />
      )}
      {answer.milliseconds !== undefined && <p className="lt-hint">{t('try.took', { milliseconds: metric(Math.round(answer.milliseconds * 10) / 10) })}</p>}
      <details className="lt-more">
        <summary>{t('try.answer')}</summary>
        <pre className="lt-code">{JSON.stringify(answer, null, 2)}</pre>
      </details>
    </>
  );
}

interface ClassBar {
  label: string;
  value: number;
}

/** Probabilities of one row when the answer has them, the likeliest first. */
export function classBars(answer: Prediction): ClassBar[] | null {
  if (answer.probabilities?.length === 1) return barsOf(answer.probabilities[0], answer.classes ?? null);
  const probabilities = answer.outputs?.find(output => /proba/i.test(output.name))?.data;
  return barsOf(probabilities ?? firstRow(answer.predictions), answer.classes ?? null);
}

function firstRow(predictions: unknown): unknown {
  return Array.isArray(predictions) && predictions.length === 1 ? (predictions[0] as unknown) : predictions;
}

/** Numbers between 0 and 1 that add up to one, as a list or by name; anything else is no distribution. */
function barsOf(scores: unknown, classes: unknown[] | null): ClassBar[] | null {
  const entries: [string, unknown][] =
    scores && typeof scores === 'object' && !Array.isArray(scores)
      ? Object.entries(scores)
      : Array.isArray(scores)
        ? scores.map((score, index) => [String(classes?.[index] ?? index), score])
        : [];
  const bars = entries.map(([label, value]) => ({ label, value: value as number }));
  if (bars.length < 2 || !bars.every(bar => typeof bar.value === 'number' && bar.value >= 0 && bar.value <= 1.0001)) return null;
  const sum = bars.reduce((total, bar) => total + bar.value, 0);
  return Math.abs(sum - 1) < 0.02 ? bars.sort((a, b) => b.value - a.value) : null;
}

/** The answer itself when it is short enough to show big. */
export function plainValue(answer: Prediction): string | null {
  const one = firstRow(answer.predictions ?? answer.outputs?.[0]?.data);
  if (one === undefined || one === null) return null;
  const text = Array.isArray(one) ? one.map(show).join(', ') : typeof one === 'object' ? Object.values(one).map(show).join(', ') : show(one);
  return text.length <= 200 ? text : null;
}

interface AnswerRow {
  row: number;
  value: string;
  likely: string;
}

/** One line a row of the file, with how sure the model is. */
export function answerRows(answer: Prediction): AnswerRow[] {
  const rows = Array.isArray(answer.predictions) ? (answer.predictions as unknown[]) : [];
  return rows.map((value, index) => {
    const best = barsOf(answer.probabilities?.[index], answer.classes ?? null)?.[0];
    return { row: index + 1, value: typeof value === 'object' ? JSON.stringify(value) : show(value), likely: best ? `${(best.value * 100).toFixed(1)} %` : '' };
  });
}

const show = (value: unknown): string => (typeof value === 'number' ? metric(value) : typeof value === 'object' ? JSON.stringify(value) : String(value));
