//! Files that records come from: vectors, ids and texts side by side, read in pieces of bounded size.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use varvite::Fields;

use crate::{
    failure::{Failure, Outcome},
    files::{has_ending, open_regular},
    ids::{IdEncoding, readable},
    text::{counted, grouped},
};

pub(crate) mod fvecs;
pub(crate) mod lines;
pub(crate) mod matrix;
pub(crate) mod npy;
pub(crate) mod records;

use lines::Lines;
use matrix::Matrix;
use records::{RecordLine, next_record};

type FileLines = Lines<BufReader<File>>;

/// A piece is closed early when it holds so many bytes, so that long documents do not fill the memory.
const PIECE_BYTES: usize = 16 << 20;

/// A file of vectors alone.
pub(crate) enum Vectors {
    Npy(Matrix<BufReader<File>>),
    Fvecs(Matrix<fvecs::Whole<BufReader<File>>>),
    /// An .fvecs file of no bytes: no rows, of any dimension.
    Empty,
}

impl Vectors {
    /// Opens by the ending of the name; `None` for an ending that is neither .npy nor .fvecs.
    pub(crate) fn open(path: &Path) -> Outcome<Option<Self>> {
        let is_npy = has_ending(path, "npy");
        if !is_npy && !has_ending(path, "fvecs") {
            return Ok(None);
        }
        let (file, length) = open_regular(path)?;
        let reader = BufReader::with_capacity(1 << 18, file);
        let name = path.display().to_string();
        Ok(Some(if is_npy {
            Self::Npy(npy::open(reader, length, &name)?)
        } else {
            fvecs::open(reader, length, &name)?.map_or(Self::Empty, Self::Fvecs)
        }))
    }

    pub(crate) fn rows(&self) -> u64 {
        match self {
            Self::Npy(matrix) => matrix.rows(),
            Self::Fvecs(matrix) => matrix.rows(),
            Self::Empty => 0,
        }
    }

    pub(crate) fn dimension(&self) -> Option<usize> {
        match self {
            Self::Npy(matrix) => Some(matrix.dimension()),
            Self::Fvecs(matrix) => Some(matrix.dimension()),
            Self::Empty => None,
        }
    }

    pub(crate) fn is_one_dimensional(&self) -> bool {
        matches!(self, Self::Npy(matrix) if matrix.is_one_dimensional())
    }

    pub(crate) fn read_rows(&mut self, count: usize, out: &mut Vec<f32>) -> Outcome<usize> {
        match self {
            Self::Npy(matrix) => matrix.read_rows(count, out),
            Self::Fvecs(matrix) => matrix.read_rows(count, out),
            Self::Empty => Ok(0),
        }
    }
}

/// Which files an import reads.
#[derive(Debug, clap::Args)]
pub(crate) struct InputFiles {
    /// Vectors: a .npy file (2-D, little-endian f32), a .fvecs file, or a .jsonl file of whole records; the ending of the name tells which
    #[arg(long, value_name = "FILE")]
    pub(crate) vectors: PathBuf,
    /// Ids, one a line (ended by LF or, all of them, by CR LF), in the order of the vectors. Without this and without ids in the records, an id is the number of its row, from 0
    #[arg(long, value_name = "FILE")]
    pub(crate) ids: Option<PathBuf>,
    /// Texts and metadata, one JSON object a line, in the order of the vectors: id, document, metadata, uri, each optional. What is left out stays as it is in the database; null clears it
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) records: Option<PathBuf>,
}

/// All files of one import, read in step.
pub(crate) struct Input {
    /// `None` if the records bring their vectors along.
    vectors: Option<Vectors>,
    records: Option<FileLines>,
    ids: Option<FileLines>,
    encoding: IdEncoding,
    dimension: usize,
    row: u64,
    /// Whether ids come from the records, as the first one tells.
    ids_in_records: Option<bool>,
}

/// Some consecutive records of an input.
#[derive(Default)]
pub(crate) struct Piece {
    dimension: usize,
    pub(crate) ids: Vec<Vec<u8>>,
    vectors: Vec<f32>,
    records: Vec<RecordLine>,
}

impl Piece {
    /// Each record as the engine takes it.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&[u8], Fields<'_>)> {
        let rows = self.vectors.chunks_exact(self.dimension.max(1));
        let records = self.records.iter().map(Some).chain(std::iter::repeat(None));
        self.ids.iter().zip(rows).zip(records).map(|((id, row), record)| {
            let fields = Fields::vector(row);
            let fields = match record {
                Some(record) => record.add_to(fields),
                None => fields,
            };
            (id.as_slice(), fields)
        })
    }

    /// The first record with a NaN or an infinity: its position in this piece.
    pub(crate) fn first_non_finite(&self) -> Option<usize> {
        self.vectors.iter().position(|element| !element.is_finite()).map(|index| index / self.dimension.max(1))
    }
}

impl Input {
    /// Opens the files for a collection of `dimension`; what their headers say is checked here.
    pub(crate) fn open(files: &InputFiles, dimension: usize, encoding: IdEncoding) -> Outcome<Self> {
        let lines = |path: &Option<PathBuf>| path.as_deref().map(Lines::open).transpose();
        let (vectors, records) = match Vectors::open(&files.vectors)? {
            Some(vectors) => (Some(vectors), lines(&files.records)?),
            None if has_ending(&files.vectors, "jsonl") => {
                if files.records.is_some() {
                    return Err(Failure::usage("--records cannot be added to a .jsonl file of vectors, whose lines are whole records"));
                }
                (None, Some(Lines::open(&files.vectors)?))
            }
            None => {
                let name = files.vectors.display();
                return Err(Failure::usage(format!("'{name}' does not end in .npy, .fvecs or .jsonl, so its format is unknown")));
            }
        };
        if let Some(vectors) = &vectors {
            if vectors.is_one_dimensional() {
                let name = files.vectors.display();
                return Err(Failure::refused(format!(
                    "'{name}' is a 1-D array: reshape it to rows and elements with array.reshape(-1, {dimension})"
                )));
            }
            if let Some(found) = vectors.dimension().filter(|found| *found != dimension) {
                let name = files.vectors.display();
                return Err(Failure::refused(format!(
                    "the vectors of '{name}' have {}, the dimension of the collection is {}",
                    counted(found as u64, "element"),
                    grouped(dimension as u64)
                )));
            }
        }
        Ok(Self { vectors, records, ids: lines(&files.ids)?, encoding, dimension, row: 0, ids_in_records: None })
    }

    /// Rows, if the file of vectors says so at its beginning.
    pub(crate) fn rows(&self) -> Option<u64> {
        self.vectors.as_ref().map(Vectors::rows)
    }

    /// Where the id of a row stands, for a message.
    pub(crate) fn place_of(&self, row: u64) -> String {
        let lines = self.ids.as_ref().or(self.records.as_ref().filter(|_| self.ids_in_records == Some(true)));
        match lines {
            Some(lines) => format!("'{}' line {}", lines.path().display(), row + 1),
            None => format!("row {}, counted from 0,", grouped(row)),
        }
    }

    /// Up to `count` further records; an empty piece is the end, and then all files have ended together.
    pub(crate) fn next_piece(&mut self, count: usize) -> Outcome<Piece> {
        let mut piece = Piece { dimension: self.dimension, ..Piece::default() };
        let mut bytes = 0;
        while piece.ids.len() < count && bytes < PIECE_BYTES {
            let before = piece.vectors.len();
            let record = match self.next_vector(&mut piece.vectors)? {
                Some(record) => record,
                None => break,
            };
            bytes += (piece.vectors.len() - before) * 4 + record.as_ref().map_or(0, RecordLine::text_bytes);
            let id = self.next_id(record.as_ref())?;
            piece.ids.push(id);
            piece.records.extend(record);
            self.row += 1;
        }
        if piece.ids.is_empty() {
            self.check_all_ended()?;
        }
        Ok(piece)
    }

    /// Appends the next vector and returns the record beside it, if there are records; the outer `None` is the end.
    fn next_vector(&mut self, out: &mut Vec<f32>) -> Outcome<Option<Option<RecordLine>>> {
        let rows_before = self.row;
        let Some(vectors) = &mut self.vectors else {
            return self.next_whole_record(out);
        };
        if vectors.read_rows(1, out)? == 0 {
            return Ok(None);
        }
        let Some(lines) = &mut self.records else { return Ok(Some(None)) };
        match next_record(lines, self.encoding)? {
            Some(record) if record.vector.is_some() => Err(lines.complaint("has a vector, but --vectors gives them already")),
            Some(record) => Ok(Some(Some(record))),
            None => Err(too_short(lines.path(), rows_before, vectors.rows())),
        }
    }

    fn next_whole_record(&mut self, out: &mut Vec<f32>) -> Outcome<Option<Option<RecordLine>>> {
        let Some(lines) = &mut self.records else { return Ok(None) };
        let Some(mut record) = next_record(lines, self.encoding)? else { return Ok(None) };
        let Some(vector) = record.vector.take() else {
            return Err(lines.complaint("lacks the vector"));
        };
        if vector.len() != self.dimension {
            return Err(lines.complaint(&format!(
                "the vector has {}, the dimension of the collection is {}",
                counted(vector.len() as u64, "element"),
                grouped(self.dimension as u64)
            )));
        }
        out.extend(vector);
        Ok(Some(Some(record)))
    }

    fn next_id(&mut self, record: Option<&RecordLine>) -> Outcome<Vec<u8>> {
        let in_record = record.and_then(|record| record.id.as_ref());
        if let Some(lines) = &mut self.ids {
            let id = match lines.next_id()? {
                None => match self.vectors.as_ref().map(Vectors::rows) {
                    Some(rows) => return Err(too_short(lines.path(), self.row, rows)),
                    None => {
                        return Err(Failure::refused(format!(
                            "'{}' ends after {}, but there are more vectors",
                            lines.path().display(),
                            counted(self.row, "id")
                        )));
                    }
                },
                Some(line) => self.encoding.decode(line),
            };
            let id = id.map_err(|what| lines.complaint(&what))?;
            return match in_record {
                Some(other) if *other != id => {
                    Err(lines.complaint(&format!("the id {} stands beside a record with the id {}", readable(&id), readable(other))))
                }
                _ => Ok(id),
            };
        }
        let expected = *self.ids_in_records.get_or_insert(in_record.is_some());
        match (in_record, &self.records) {
            (Some(id), _) if expected => Ok(id.clone()),
            (None, Some(lines)) if expected => Err(lines.complaint("lacks the id, which the lines before it have")),
            (Some(_), Some(lines)) => Err(lines.complaint("has an id, which the lines before it lack")),
            _ => Ok(self.row.to_string().into_bytes()),
        }
    }

    /// Files that go on where the vectors have ended belong to other vectors.
    fn check_all_ended(&mut self) -> Outcome {
        for lines in [&mut self.ids, &mut self.records].into_iter().flatten() {
            if lines.next_line()?.is_some() {
                return Err(Failure::refused(format!(
                    "'{}' has more lines than there are vectors: line {} belongs to none of {}",
                    lines.path().display(),
                    lines.number(),
                    grouped(self.row)
                )));
            }
        }
        Ok(())
    }
}

fn too_short(path: &Path, lines: u64, rows: u64) -> Failure {
    Failure::refused(format!("'{}' has {}, but there are {}", path.display(), counted(lines, "line"), counted(rows, "vector")))
}
