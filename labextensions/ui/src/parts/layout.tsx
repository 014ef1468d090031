/** The frame of pages and tabs. */
import { useId, useState, type ReactNode } from 'react';

import { usePlace } from '../context';

export function Page(props: { title: ReactNode; state?: ReactNode; actions?: ReactNode; children: ReactNode; note?: ReactNode }): JSX.Element {
  return (
    <section className="lt-page">
      <header className="lt-page-head">
        <div className="lt-page-title">
          <h1>{props.title}</h1>
          {props.state}
        </div>
        <div className="lt-page-actions">{props.actions}</div>
      </header>
      {props.note && <p className="lt-page-note">{props.note}</p>}
      {props.children}
    </section>
  );
}

export function Card(props: { title?: ReactNode; actions?: ReactNode; children: ReactNode; className?: string }): JSX.Element {
  return (
    <section className={`lt-card ${props.className ?? ''}`}>
      {props.title && (
        <header className="lt-card-head">
          <h2>{props.title}</h2>
          {props.actions}
        </header>
      )}
      {props.children}
    </section>
  );
}

export interface Tab {
  id: string;
  title: string;
  show: () => ReactNode;
}

/** Tabs whose choice is in the address. */
export function Tabs({ tabs, name = 'tab' }: { tabs: Tab[]; name?: string }): JSX.Element {
  const place = usePlace();
  const id = useId();
  const chosen = tabs.find(tab => tab.id === place.query.get(name)) ?? tabs[0];
  const choose = (tab: Tab): void => place.setQuery({ [name]: tab === tabs[0] ? null : tab.id });
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    if (!step) return;
    const next = tabs[(tabs.indexOf(chosen) + step + tabs.length) % tabs.length];
    choose(next);
    document.getElementById(`${id}-${next.id}`)?.focus();
  };
  return (
    <>
      <div className="lt-tabs" role="tablist" onKeyDown={onKeyDown}>
        {tabs.map(tab => (
          <button
            key={tab.id}
            id={`${id}-${tab.id}`}
            type="button"
            role="tab"
            aria-selected={tab === chosen}
            tabIndex={tab === chosen ? 0 : -1}
            className="lt-tab"
            onClick={() => choose(tab)}
          >
            {tab.title}
          </button>
        ))}
      </div>
      <div role="tabpanel" aria-labelledby={`${id}-${chosen.id}`} className="lt-tab-panel">
        {chosen.show()}
      </div>
    </>
  );
}

/** Sections of the sidebar: open or closed is remembered. */
export function Section(props: { name: string; title: string; count?: string; actions?: ReactNode; children: ReactNode }): JSX.Element {
  const [open, setOpen] = useRemembered(`section.${props.name}`, true);
  const id = useId();
  return (
    <section className="lt-section">
      <header className="lt-section-head">
        <button type="button" className="lt-section-toggle" aria-expanded={open} aria-controls={id} onClick={() => setOpen(!open)}>
          <span className={`lt-caret ${open ? 'lt-caret-open' : ''}`} aria-hidden="true" />
          {props.title}
          {props.count && <span className="lt-count">{props.count}</span>}
        </button>
        {props.actions}
      </header>
      <div id={id} hidden={!open} className="lt-section-body">
        {open && props.children}
      </div>
    </section>
  );
}

/** State kept in the browser for this person's next visit. */
export function useRemembered<T>(name: string, start: T): [T, (value: T) => void] {
  const key = `ltai.${name}`;
  const [value, setValue] = useState<T>(() => {
    try {
      const kept = localStorage.getItem(key);
      return kept === null ? start : (JSON.parse(kept) as T);
    } catch {
      return start;
    }
  });
  const keep = (next: T): void => {
    setValue(next);
    try {
      localStorage.setItem(key, JSON.stringify(next));
    } catch {
      // Private windows may refuse; then it is forgotten, nothing more.
    }
  };
  return [value, keep];
}
